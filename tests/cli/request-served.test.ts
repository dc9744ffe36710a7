import { expect, test } from '@jest/globals';
import { testFleet } from '../end-to-end/test-fleet.ts';
import { command, quickNode, type Surroundings } from './command-line.ts';

// The command with the API itself: from nothing to served.

const RequestRules =
  'shop=shop.example.com,shop=*.shop.example.com,bare=bare.example.com,hand=hand.example.com,hand=*.hand.example.com';
const fleet = testFleet({ composed: true, central: { parameters: { RequestRules } } });
const cli = (words: string, around: Surroundings = {}) =>
  command(fleet(), words.split(' '), { pause: 40, ...around });
const NAMES = '--domain shop.example.com --domain *.shop.example.com';
const FILE = `Deployments:
  - TargetTagKey: acm-export
    TargetTagValue: shop
    VerifyPort: 443
`;
const askedOfAcm = () => fleet().cloud.record.callsOf('RequestCertificate').length;

test('a dry run says what would be requested, and ACM is not asked', async () => {
  const ran = await cli(`request shop ${NAMES} --deployments - --dry-run`, { stdin: FILE });
  expect([ran.code, askedOfAcm()]).toEqual([0, 0]);
  expect(ran.out).toMatch(/Status: +DRY_RUN\nReason: +Nothing was requested: this is a dry run\.\n/);
  expect(ran.out).toMatch(/Deployments: +shop\/acm-export=shop in 111122223333 eu-west-1 {2}[0-9a-f]{8}\n/);
  expect(ran.err).toContain('Warning: ACM charges for the certificate when it is issued');
  expect((await cli('request shop')).err).toBe(
    'acm-export: No certificate was requested under the name shop.\n',
  );
});

test('one command leads from nothing to a server that serves the certificate, and again asks ACM for nothing', async () => {
  const node = await quickNode(fleet().cloud, 'shop');
  fleet().cloud.settle();
  const words = `request shop ${NAMES} --deployments - --yes`;
  const ran = await cli(words, { stdin: FILE });
  expect([ran.code, ran.err]).toEqual([0, expect.stringMatching(/^Warning: ACM charges .*\n$/)]);
  expect(ran.out).toContain('shop: issued\n');
  expect(ran.out).toMatch(/shop\/acm-export=shop: served\n {2}Every server serves it at its port, until /);
  expect(node.installed).toBeDefined();
  const again = await cli(words, { stdin: FILE });
  expect([again.code, askedOfAcm()]).toEqual([0, 1]);
  const shown = await cli('request shop --output json');
  expect(shown.json()).toMatchObject({
    Status: 'DONE',
    DomainNames: ['shop.example.com', '*.shop.example.com'],
    Deployments: [{ TargetTagValue: 'shop' }],
  });
});

test('what a request shows can be sent back as it is', async () => {
  const { CertName, DomainNames, Deployments } = (await cli('request shop --output json')).json();
  const stdin = JSON.stringify({
    Deployments: Deployments.map(({ DeploymentId: _, ...one }: { DeploymentId: string }) => one),
  });
  const domains = DomainNames.map((name: string) => `--domain ${name}`).join(' ');
  const ran = await cli(`request ${CertName} ${domains} --deployments - --yes`, { stdin });
  expect([ran.code, askedOfAcm()]).toEqual([0, 1]);
});

test('without a deployment it says how to deliver the certificate, by a command that works', async () => {
  const ran = await cli('request bare --domain bare.example.com --yes');
  expect([ran.code, ran.out]).toEqual([0, expect.stringContaining('bare: issued\n')]);
  const [, register = ''] = /^ {2}acm-export (register .*)$/m.exec(ran.out) ?? [];
  const delivered = await cli(`${register.replace('key=value', 'acm-export=bare')} --no-wait`);
  expect([delivered.code, register]).toEqual([0, expect.stringContaining('register bare --certificate-arn')]);
});

test('a domain that no rule allows is refused by name, with the parameter that allows it', async () => {
  const before = askedOfAcm();
  const ran = await cli('request shop --domain shop.example.com --domain other.example.com --yes');
  expect([ran.code, askedOfAcm()]).toEqual([1, before]);
  expect(ran.err).toContain('parameter RequestRules.\n  DomainNames: other.example.com: no rule allows it');
});

test('without Route 53 the command prints the record; entered as it stands, ACM issues the certificate', async () => {
  const { services, publicDns } = fleet().cloud;
  services.acm.validation = 'public DNS';
  try {
    const begun = await cli(
      'request hand --domain hand.example.com --domain *.hand.example.com --yes --no-wait',
    );
    expect([begun.code, begun.out]).toEqual([0, expect.stringContaining('Status:         ASKING\n')]);
    const late = await cli('request hand --wait --timeout 30s');
    expect([late.code, late.out]).toEqual([3, expect.stringContaining('hand: timed out\n')]);
    expect(late.out).toContain('; hand.example.com, *.hand.example.com: acm-export has not written it\n');
    const lines = [...late.out.matchAll(/^(_[0-9a-f]{32}\.hand\.example\.com\.) IN CNAME (_\S+\.)$/gm)];
    expect(lines).toHaveLength(1);
    const [[, name = '', value = ''] = []] = lines;
    publicDns.say(name, 'CNAME', [value]);
    const issued = await cli('request hand --wait');
    expect([issued.code, issued.out]).toEqual([0, expect.stringContaining('hand: issued\n')]);
  } finally {
    services.acm.validation = 'automatic';
  }
});
