import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { Channel } from 'local-cloud';
import { type LeakScene, leakScene } from '../security/leak-scene.ts';
import { LeakSearch, passphraseSecret } from '../security/leaks.ts';

// What processes of nodes are given and write is looked at in tests/real/leaks-to-processes.test.ts, which needs strace.

const scene = leakScene();

describe('the key is nowhere but where it belongs', () => {
  let found: ReturnType<LeakScene['search']>;

  beforeAll(() => {
    found = scene().search();
  });

  test('the search finds each exported key with its passphrase in its bundle', () => {
    const exported = scene()
      .secretsMade()
      .filter(({ kind }) => kind !== 'key');
    expect(exported.length).toBeGreaterThanOrEqual(6);
    const search = new LeakSearch(exported);
    const values = scene().cloud.services.secretsManager.values();
    const inBundles = new Set(
      values.flatMap(({ value }) => search.in('bundle', value).map(({ kind, name }) => `${kind} ${name}`)),
    );
    expect(inBundles.size).toBe(exported.length);
  });

  test('the search finds an exported key in the PKCS#12 of a bundle too', () => {
    const search = new LeakSearch(scene().secretsMade());
    const files = scene()
      .cloud.services.secretsManager.values()
      .flatMap(({ value }) => JSON.parse(value).Pkcs12 ?? []);
    expect(files).toHaveLength(1);
    expect(new Set(files.flatMap((file) => search.in('bundle', file).map(({ kind }) => kind)))).toEqual(
      new Set(['encrypted key']),
    );
  });

  test('no log, trace, event, message, state, parameter, output, answer or record holds a key or passphrase', () => {
    const channels: Channel[] = [
      'function-log',
      'function-payload',
      'trace',
      'state-machine',
      'api-request',
      'api-answer',
      'event',
      'sns-message',
      'ssm-parameters',
      'ssm-output',
      'dynamodb-write',
    ];
    for (const channel of channels) {
      expect([channel, scene().cloud.record.emissionsOf(channel).length > 0]).toEqual([channel, true]);
    }
    const looked = ['ssm-output', 'dynamodb-write'] as const;
    const texts = looked.map((channel) =>
      scene()
        .cloud.record.emissionsOf(channel)
        .map(({ text }) => text),
    );
    expect(texts).toEqual([
      expect.arrayContaining([
        expect.stringMatching(/^certificate\tweb\t.*\nend\t/s),
        expect.stringMatching(/^certificate\tfar\t.*\nend\t/s),
      ]),
      expect.arrayContaining([expect.stringMatching(/look#.*CompletedAt/s)]),
    ]);
    expect(found.leaks).toEqual([]);
  });

  test('no function writes a file, even if it deletes the file again, or starts a process', () => {
    const { emissions } = scene().cloud.record;
    expect(
      emissions.filter(({ channel }) => channel === 'function-file' || channel === 'function-process'),
    ).toEqual([]);
  });

  test('the calls that CI keeps are all there, those that hand a key over too', () => {
    const operations = new Set(
      scene()
        .recordedCalls()
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).operation),
    );
    for (const name of ['ExportCertificate', 'GetRandomPassword', 'PutSecretValue', 'GetSecretValue']) {
      expect([...operations]).toContainEqual(expect.stringMatching(`\\.${name}$`));
    }
  });

  test('of all files only the installed key holds it, for its owner alone', () => {
    const keyFile =
      /\/nodes\/m?i-[0-9a-f]{17}\/etc\/ssl\/acm-export\/(web|far)\/versions\/[0-9a-f]+-\d+\/(privkey|combined)\.pem$/;
    const others = found.files.filter(
      ({ path: file, kind, mode }) => !keyFile.test(file) || kind === 'passphrase' || mode !== 0o600,
    );
    expect(others).toEqual([]);
    expect(new Set(found.files.map(({ kind }) => kind))).toEqual(new Set(['key', 'encrypted key']));
  });
});

test('a key that a node prints where it is looked at goes no further than its own output', async () => {
  const operations = ['ListCommandInvocations', 'GetCommandInvocation'];
  const read = operations.map((name) => `AmazonSSM.${name}`);
  expect(await scene().hearKey()).toEqual(new Set(['ssm-output', ...read]));
});

describe('a planted leak is found', () => {
  let found: ReturnType<LeakScene['search']>;

  beforeAll(async () => {
    await scene().plantLeaks();
    found = scene().search();
  });

  test.each([
    'function-log',
    'function-payload',
    'function-file',
    'function-process',
    'trace',
    'state-machine',
    'event',
    'dead-letter',
    'sns-message',
    'dynamodb-write',
    'api-request',
    'api-answer',
    'ssm-parameters',
    'ssm-output',
    'call',
    'recorded call',
  ])('in the channel %s', (channel) => {
    expect(found.leaks.map(({ where }) => where)).toContain(channel);
  });

  test.each([
    ['a forgotten file', /\/forgotten-passphrase$/, 'passphrase'],
    ['a forgotten file, as DER', /\/forgotten-key$/, 'key'],
    ['the journal', /\/journal$/, 'passphrase'],
    [
      'a folder below the one for temporary files',
      /\/acm-export-forgotten-[^/]+\/deeper\/forgotten$/,
      'passphrase',
    ],
    ["the agent's own files", /\/orchestration\/.*\/stderr$/, 'passphrase'],
  ])('in %s', (_what, file, kind) => {
    expect(found.files).toContainEqual(expect.objectContaining({ path: expect.stringMatching(file), kind }));
  });

  test('in a key that others may read', () => {
    const open = found.files.filter(({ path: file, mode }) => /privkey\.pem$/.test(file) && mode !== 0o600);
    expect(open.map(({ mode }) => mode.toString(8))).toContain('644');
  });
});

describe('the search knows a secret', () => {
  const passphrase = 'correct-Horse-Battery-Staple-0123456789';
  const bytes = randomBytes(32);
  const search = new LeakSearch([
    passphraseSecret('words', passphrase),
    { kind: 'key', name: 'bytes', parts: [bytes] },
  ]);
  const base64 = (before: string) =>
    Buffer.concat([Buffer.from(before), bytes, Buffer.from('after')]).toString('base64');

  test.each([
    ['as it is', `x${passphrase}y`],
    ['in JSON', JSON.stringify({ a: { Passphrase: passphrase } })],
    ['in JSON in JSON', JSON.stringify(JSON.stringify({ Passphrase: passphrase }))],
    ['in base64', Buffer.from(`${passphrase}`).toString('base64')],
    ['in base64 behind one byte', Buffer.from(`x${passphrase}y`).toString('base64')],
    ['in base64 behind two bytes', Buffer.from(`xx${passphrase}yy`).toString('base64')],
    ['in hexadecimal', Buffer.from(passphrase).toString('hex')],
    ['as a buffer in JSON', JSON.stringify(Buffer.from(passphrase))],
    ['as an array of bytes in JSON', JSON.stringify(new Uint8Array(Buffer.from(passphrase)))],
  ])('of letters %s', (_form, text) => {
    expect(search.in('here', text)).toContainEqual(expect.objectContaining({ name: 'words' }));
  });

  test.each([
    ['as they are', `x${bytes.toString('latin1')}y`],
    ['escaped in JSON', JSON.stringify({ a: bytes.toString('latin1') })],
    ['in base64', base64('')],
    ['in base64 behind one byte', base64('x')],
    ['in base64 behind two bytes', base64('xx')],
    ['in base64 for addresses', Buffer.concat([Buffer.from('x'), bytes]).toString('base64url')],
    ['in base64 over several lines', base64('xyz').replace(/.{20}/g, '$&\n')],
    [
      'in base64 over several lines in JSON',
      JSON.stringify({ pem: base64('xyz').replace(/.{20}/g, '$&\r\n') }),
    ],
    ['in capital hexadecimal', bytes.toString('hex').toUpperCase()],
  ])('of bytes %s', (_form, text) => {
    expect(search.in('here', text)).toContainEqual(expect.objectContaining({ name: 'bytes' }));
  });

  test('and takes nothing else for one', () => {
    expect(search.in('here', JSON.stringify({ other: randomBytes(4096).toString('base64') }))).toEqual([]);
  });
});
