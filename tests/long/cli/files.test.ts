import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { parse, stringify } from 'yaml';
import type { Deployment } from '../../../cli/answers.ts';
import type { Stop } from '../../../cli/exit.ts';
import { type Entry, readDeployments } from '../../../cli/file.ts';
import { exportOf, planOf } from '../../../cli/plan.ts';
import { orderFrom, RegistrationBody } from '../../../functions/deployments-api/request.ts';
import { deploymentIdOf, type Deployment as Known } from '../../../functions/domain/deployment.ts';
import { type FlatOrder, flatOf, InstallOptions } from '../../../functions/domain/order.ts';
import { requestOf } from '../../../functions/domain/order-changes.ts';
import { requestCertificate } from '../../../local/example-fleet.ts';
import { command, quickNode, type Surroundings } from '../../cli/command-line.ts';
import { testFleet } from '../../end-to-end/test-fleet.ts';
import { ROOT } from '../../templates/stacks.ts';

const ARN = 'arn:aws:acm:eu-west-1:111122223333:certificate/11112222-3333-4444-5555-666677778888';
const EXAMPLE = readFileSync(path.join(ROOT, 'docs/examples/certificates.yaml'), 'utf8');
const schema = JSON.parse(readFileSync(path.join(ROOT, 'docs/deployments.schema.json'), 'utf8'));
const fits = new Ajv({ allErrors: true, strict: false }).compile(schema);

/** What a file is told, or nothing. */
function faultsOf(text: string): string[] {
  try {
    readDeployments(text, 'f.yaml');
    return [];
  } catch (error) {
    return (error as Stop).advice;
  }
}

const registered = (order: FlatOrder, more: object = {}): Deployment =>
  ({
    ...order,
    DeploymentId: deploymentIdOf(order, order.CertName),
    Status: 'INSTALLED',
    RolloutNumber: 1,
    EarliestNotAfter: '2027-06-09T23:59:59Z',
    ...more,
  }) as Deployment;

/** As the inventory has it. */
const known = (order: FlatOrder) =>
  ({ ...order, Options: InstallOptions.strip().parse(order), Wanted: {} }) as unknown as Known;

/** What is undefined does not travel. */
const onTheWire = (value: object) => JSON.parse(JSON.stringify(value));

/** Orders as the API would take them, whatever they hold. */
const orders: fc.Arbitrary<FlatOrder> = fc
  .record({
    CertName: fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9_-]{0,20}[A-Za-z0-9])?$/),
    CertificateArn: fc.constantFrom(ARN, ARN.replace('8888', '9999')),
    // Also what YAML would take for something else.
    TargetTagKey: fc.constantFrom('acm-export', 'tier', 'yes', 'null', '0x1', '#'.replace('#', 'a:b')),
    TargetTagValue: fc.stringMatching(/^[A-Za-z0-9_.:/=+@-]{1,20}$/),
    TargetAccount: fc.constantFrom('111122223333', '000055556666'),
    TargetRegion: fc.constantFrom('eu-west-1', 'eu-central-1'),
    ReloadServices: fc.constantFrom([], ['nginx'], ['haproxy', 'nginx']),
    RestartServices: fc.constantFrom([], ['slapd']),
    VerifyPort: fc.integer({ min: 1, max: 65535 }),
    VerifyName: fc.constantFrom(undefined, 'www.example.com'),
    VerifyProtocol: fc.constantFrom(undefined, 'imap' as const),
    KeyFormat: fc.constantFrom('decrypted' as const, 'encrypted' as const),
    ExtraFormats: fc.constantFrom([], ['pkcs12' as const]),
    KeyMode: fc.constantFrom(undefined, '0400' as const, '0640' as const),
    KeyGroup: fc.constantFrom(undefined, 'ssl-cert'),
    TakeOver: fc.constantFrom(undefined, true, false),
    MaxConcurrency: fc.constantFrom('10', '25%', '1'),
    MaxErrors: fc.constantFrom('10%', '0'),
    BundleFormats: fc.constantFrom(undefined, ['pkcs12' as const]),
    delivery: fc.boolean(),
  })
  .map(
    ({ delivery, BundleFormats, ...order }) =>
      ({
        ...JSON.parse(JSON.stringify(order)),
        ...(delivery
          ? {
              Delivery: 'secret',
              ReaderRoleArns: [`arn:aws:iam::${order.TargetAccount}:role/reader`],
              ...(BundleFormats ? { BundleFormats } : {}),
            }
          : { Delivery: 'nodes' }),
      }) as FlatOrder,
  );
const fleets = fc.uniqueArray(orders, {
  maxLength: 6,
  selector: (order) => deploymentIdOf(order, order.CertName),
});

describe('a file', () => {
  test('that export has written plans no change, fits the schema, and is the same when it is exported again', () => {
    fc.assert(
      fc.property(fleets, (fleet) => {
        const all = fleet.map((order) => registered(order));
        const text = exportOf(all, 'x');
        expect(planOf(readDeployments(text, 'f'), all, true).map(({ action }) => action)).toEqual(
          fleet.map(() => 'none'),
        );
        expect([fits(parse(text)), fits.errors]).toEqual([true, null]);
        expect(exportOf(all, 'x')).toBe(text);
      }),
      { numRuns: 60 },
    );
  });

  test('changes what it says and sets the default of all else that the deployment has', () => {
    fc.assert(
      fc.property(orders, orders, (from, to) => {
        const target = { ...to, CertName: from.CertName, TargetTagKey: from.TargetTagKey };
        const moved = {
          ...target,
          TargetTagValue: from.TargetTagValue,
          TargetAccount: from.TargetAccount,
          TargetRegion: from.TargetRegion,
          ...(to.Delivery === 'secret'
            ? { ReaderRoleArns: [`arn:aws:iam::${from.TargetAccount}:role/reader`] }
            : {}),
        } as FlatOrder;
        const [entry] = readDeployments(exportOf([registered(moved)]), 'f') as [Entry];
        const request = RegistrationBody.parse(onTheWire(requestOf(entry.order, registered(from))));
        const order = orderFrom(from.CertName, request, known(from), { account: '-', region: '-' });
        expect(planOf([entry], [registered(flatOf(order))], false)).toMatchObject([{ action: 'none' }]);
      }),
      { numRuns: 60 },
    );
  });

  test('prunes what it does not have, and only under its own names', () => {
    const [mine, other] = fc.sample(
      fleets.filter((fleet) => fleet.length > 1),
      1,
    )[0] as [FlatOrder, FlatOrder];
    const own = { ...mine, CertName: 'own' };
    const all = [
      registered(own),
      registered({ ...own, TargetTagValue: 'not-in-the-file' }),
      registered({ ...own, TargetTagValue: 'tried' }, { Status: 'TRIED' }),
      registered({ ...other, CertName: 'of-others' }),
    ];
    const entries = readDeployments(exportOf([registered(own)]), 'f');
    const actions = (isPruned: boolean) =>
      planOf(entries, all, isPruned).map(({ action, order }) => [
        action,
        order.CertName,
        order.TargetTagValue,
      ]);
    expect(actions(true)).toEqual([
      ['none', 'own', own.TargetTagValue],
      ['remove', 'own', 'not-in-the-file'],
    ]);
    expect(actions(false)[1]).toEqual(['leave', 'own', 'not-in-the-file']);
  });

  test('is taken by the schema for editors exactly where the command takes it', () => {
    const good = parse(EXAMPLE).Deployments[0];
    const values = fc.oneof(
      fc.constantFrom<unknown>(
        null,
        true,
        0,
        443,
        70_000,
        -1,
        1.5,
        '',
        '0640',
        '77',
        'nginx',
        [],
        ['nginx'],
        ['nginx', 'nginx'],
        [1],
        {},
        'a..b',
        ' a',
        'aws:x',
        ARN,
      ),
      fc.string({ maxLength: 8 }),
    );
    // Rules over several fields are the command's alone.
    const names = Object.keys(schema.properties.Deployments.items.properties).filter(
      (name) =>
        !['Delivery', 'ReaderRoleArns', 'BundleFormats', 'RestartServices', 'VerifyPort'].includes(name),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...names, 'DryRun', 'Surprise'),
        fc.option(values, { nil: undefined }),
        (name, value) => {
          const entry = { ...good, [name]: value };
          const file = JSON.parse(JSON.stringify({ Deployments: [entry] }));
          expect([name, value, faultsOf(stringify(file)).length === 0]).toEqual([name, value, fits(file)]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test.each([
    ['an unknown field', 'VerifyPort: 443', 'VerifyPrt: 443', /^f\.yaml:10:5: VerifyPrt: unknown field$/],
    ['a wrong type', 'VerifyPort: 443', 'VerifyPort: "443"', /^f\.yaml:10:5: VerifyPort: not a number$/],
    [
      'an account without quotes',
      "'444455556666'",
      '444455556666',
      /^f\.yaml:17:5: TargetAccount: not a text: write it in quotes$/,
    ],
    ['a field that is missing', '    TargetTagValue: web\n', '', /^f\.yaml:5:5: TargetTagValue: missing$/],
    ['a dry run', 'VerifyPort: 443', 'DryRun: true', /^f\.yaml:10:5: DryRun: a file describes/],
    ['a field twice', 'VerifyPort: 443', 'ReloadServices: [a]', /^f\.yaml:10:5: Map keys must be unique$/],
    [
      'an entry twice',
      "TargetTagValue: edge\n    TargetAccount: '444455556666'\n    TargetRegion: eu-central-1",
      'TargetTagValue: web',
      /^f\.yaml:13:5: www\/acm-export=web is there twice: see line 5$/,
    ],
    [
      'a null',
      'VerifyPort: 443',
      'VerifyPort:',
      /^f\.yaml:10:5: VerifyPort: .*leave it out for the default$/,
    ],
    [
      'an item of a list',
      '[nginx]',
      '[nginx, "a b"]',
      /^f\.yaml:9:29: ReloadServices\.1: not the name of a systemd unit$/,
    ],
    [
      'a field beside the list',
      'Deployments:',
      'Version: 1\nDeployments:',
      /^f\.yaml:3:1: Version: unknown field$/,
    ],
    ['no YAML', 'Deployments:', 'Deployments: {', /^f\.yaml:\d+:\d+: /],
  ])('with %s is refused by line and column', (_what, from, to, says) => {
    const text = EXAMPLE.replace(from, to);
    expect(text).not.toBe(EXAMPLE);
    expect(faultsOf(text)[0]).toMatch(says);
  });

  test('that is no mapping, or empty, is refused', () => {
    for (const text of ['', '[]', 'x', 'Deployments: 1', 'deployments: []']) {
      expect(faultsOf(text)[0]).toMatch(/^f\.yaml:1:1: the file needs a list named Deployments$/);
    }
  });

  test('that expands without end is refused', () => {
    const bomb = `a: &a [x, x, x, x, x, x, x, x, x, x]\n${'bcdefg'
      .split('')
      .map((name, index) => `${name}: &${name} [${`*${'abcdef'[index]}, `.repeat(9)}]`)
      .join('\n')}\nDeployments: *g`;
    expect(faultsOf(bomb)[0]).toMatch(/Excessive alias count/);
  });
});

describe('against the API', () => {
  const fleet = testFleet();
  const cli = (words: string, around: Surroundings = {}) => command(fleet(), words.split(' '), around);
  const file = (entries: object[]) => stringify({ Deployments: entries });

  test('apply makes what is registered as the file says, waits for all, and a second one changes nothing', async () => {
    const arn = await requestCertificate(fleet(), 'web', ['web.example.com']);
    const other = await requestCertificate(fleet(), 'web', ['other.example.com']);
    for (const tag of ['a', 'b']) await quickNode(fleet().cloud, tag);
    fleet().cloud.settle();
    const entry = (tag: string, more: object = {}) => ({
      CertName: 'web',
      CertificateArn: arn,
      TargetTagKey: 'acm-export',
      TargetTagValue: tag,
      VerifyPort: 443,
      ...more,
    });
    const both = file([entry('a', { KeyGroup: 'ssl-cert' }), entry('b')]);
    expect((await cli('plan -f - --exit-code', { stdin: both })).code).toBe(10);
    const unasked = await cli('apply -f -', { stdin: both });
    const rollouts = fleet()
      .cloud.record.callsOf('StartExecution')
      // The event of the issued certificate starts an execution, too.
      .filter(({ source }) => source.startsWith('function '));
    expect([unasked.code, rollouts]).toEqual([2, []]);
    const applied = await cli('apply -f -', { stdin: both, answer: 'yes' });
    expect(applied).toMatchObject({ code: 0, err: '' });
    expect(applied.out).toContain('+ web/acm-export=a 111122223333 eu-west-1');
    expect(applied.out).toContain('Plan: 2 new, 0 changed, 0 to be removed, 0 as the file says.');
    const second = await cli('apply -f -', { stdin: both });
    expect(second).toMatchObject({ code: 0, out: 'No changes: 2 as the file says.\n', err: '' });

    // What was set by hand goes back to the default, the certificate is another one, and b is not in the file any more.
    await cli('register web --tag acm-export=a --key-mode 0640');
    const one = file([entry('a', { CertificateArn: other })]);
    const plan = await cli('plan -f - --output json', { stdin: one });
    expect(plan.json()).toMatchObject({
      HasChanges: true,
      Steps: [
        {
          Action: 'update',
          Fields: [
            { Field: 'CertificateArn', From: arn, To: other },
            { Field: 'KeyMode', From: '0640', To: null },
            { Field: 'KeyGroup', From: 'ssl-cert', To: null },
          ],
        },
        { Action: 'leave', TargetTagValue: 'b' },
      ],
    });
    const moved = await cli('apply -f - --prune --yes', { stdin: one });
    expect(moved.code).toBe(0);
    expect(moved.out).toContain('(moved to another certificate)');
    expect(moved.out).toContain('- web/acm-export=b');
    const left = (await cli('list --cert-name web --output json')).json().Deployments;
    expect(left).toMatchObject([{ TargetTagValue: 'a', CertificateArn: other }]);
    expect(left[0]).not.toHaveProperty('KeyMode');
    expect(left[0]).not.toHaveProperty('KeyGroup');
  });

  test('prune leaves what other names have', async () => {
    const arn = await requestCertificate(fleet(), 'mine', ['mine.example.com']);
    await cli(`register mine --certificate-arn ${arn} --tag acm-export=mine --verify-port 443`);
    const own = file([
      {
        CertName: 'web',
        CertificateArn: arn,
        TargetTagKey: 'acm-export',
        TargetTagValue: 'a',
        VerifyPort: 1,
      },
    ]);
    const { Steps } = (await cli('plan -f - --prune --output json', { stdin: own })).json();
    expect(Steps.map(({ CertName }: { CertName: string }) => CertName)).toEqual(['web']);
  });

  test('an entry that is refused is named by its place, and does not hold up the others', async () => {
    const arn = await requestCertificate(fleet(), 'ok', ['ok.example.com']);
    await quickNode(fleet().cloud, 'ok');
    fleet().cloud.settle();
    const entry = (CertName: string) => ({
      CertName,
      CertificateArn: arn,
      TargetTagKey: 'acm-export',
      TargetTagValue: 'ok',
      VerifyPort: 443,
    });
    const ran = await cli('apply -f - --yes', { stdin: file([entry('not-allowed'), entry('ok')]) });
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/^standard input:2:5: The certificate may not be deployed under this name\./m);
    expect(ran.out).toContain('ok/acm-export=ok: served');
  });

  test('what export writes plans no change', async () => {
    const { out } = await cli('export');
    const plan = await cli('plan -f - --exit-code', { stdin: out });
    expect([plan.code, plan.out]).toEqual([
      0,
      expect.stringMatching(/^No changes: [3-9] as the file says\.$/m),
    ]);
  });

  test('a file that is not valid is refused before any call', async () => {
    const ran = await cli('apply -f - --yes', {
      stdin: 'Deployments: [{}]',
      fetch: () => {
        throw new Error('no call');
      },
    });
    expect(ran.code).toBe(2);
    expect(ran.err).toContain('standard input:1:15: CertName: missing');
    expect((await cli('plan -f /nowhere/x.yaml')).err).toContain('There is no such file: /nowhere/x.yaml');
  });
});
