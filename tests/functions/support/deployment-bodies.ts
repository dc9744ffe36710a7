import fc from 'fast-check';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

function text(alphabet: string, lengths: { minLength: number; maxLength: number }): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(...alphabet), ...lengths });
}

const tagText = (maxLength: number) =>
  text(`${LETTERS} _.:/=+@-`, { minLength: 1, maxLength })
    .map((value) => value.trim())
    .filter((value) => value !== '' && !/^aws:/i.test(value));

const unit = fc
  .tuple(
    text(LETTERS, { minLength: 1, maxLength: 1 }),
    text(`${LETTERS}:_.@-`, { minLength: 0, maxLength: 63 }),
  )
  .map((parts) => parts.join(''));

const amount = fc.oneof(
  fc.integer({ min: 1, max: 9_999_999 }).map(String),
  fc.integer({ min: 1, max: 100 }).map((value) => `${value}%`),
);

const unitName = (name: string) => name.replace(/\.service$/, '');

/** Every body of POST …/deployments for nodes that the schema takes, as far as a generator goes. */
export function deploymentBodies(certificateArn: string) {
  const bodies = fc.record(
    {
      CertificateArn: fc.constant(certificateArn),
      TargetTagKey: tagText(128),
      TargetTagValue: tagText(256),
      TargetAccount: fc.constantFrom('111122223333', '444455556666'),
      TargetRegion: fc.constantFrom('eu-central-1', 'us-gov-west-1', 'ap-southeast-4'),
      ReloadServices: fc.uniqueArray(unit, { maxLength: 5 }),
      RestartServices: fc.uniqueArray(unit, { maxLength: 5 }),
      VerifyPort: fc.integer({ min: 0, max: 65_535 }),
      KeyFormat: fc.constantFrom('decrypted', 'encrypted'),
      ExtraFormats: fc.uniqueArray(fc.constantFrom('combined-pem', 'pkcs12'), { maxLength: 2 }),
      KeyMode: fc.constantFrom('0400', '0440', '0600', '0640'),
      KeyGroup: fc
        .tuple(
          text(`${LETTERS}_.`, { minLength: 1, maxLength: 1 }),
          text(`${LETTERS}_.-`, { minLength: 0, maxLength: 30 }),
          text(`${LETTERS}_.-$`, { minLength: 0, maxLength: 1 }),
        )
        .map((parts) => parts.join(''))
        .filter((name) => !/^([0-9]+|\.\.?)$/.test(name)),
      MaxConcurrency: amount,
      MaxErrors: fc.oneof(amount, fc.constantFrom('0', '0%')),
      DryRun: fc.boolean(),
    },
    { requiredKeys: ['CertificateArn', 'TargetTagKey', 'TargetTagValue'] },
  );
  return bodies.filter(({ ReloadServices = [], RestartServices = [] }) => {
    const reloaded = ReloadServices.map(unitName);
    return !RestartServices.some((name) => reloaded.includes(unitName(name)));
  });
}
