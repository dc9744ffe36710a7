import path from 'node:path';
import { beforeAll, expect, test } from '@jest/globals';
import { CENTRAL, MEMBER } from '../../local/example-fleet.ts';
import { testFleet } from '../end-to-end/test-fleet.ts';
import { ROOT } from '../templates/stacks.ts';
import { command, quickNode, type Surroundings } from './command-line.ts';

// From nothing to served where the hosted zone is in another account, with the role of dns-account.yaml there.

const fleet = testFleet({
  composed: true,
  central: { parameters: { RequestRules: 'shop=.example.com', DnsAccounts: MEMBER.account } },
});
const cli = (words: string, around: Surroundings = {}) =>
  command(fleet(), words.split(' '), { pause: 40, ...around });
const FILE = `Deployments:
  - TargetTagKey: acm-export
    TargetTagValue: shop
    VerifyPort: 443
`;

beforeAll(async () => {
  const { cloud, central } = fleet();
  const zone = cloud.services.route53.createZone(MEMBER.account, 'example.com');
  cloud.publicDns.delegate('example.com', zone.nameServers);
  await cloud.deployTemplate(path.join(ROOT, 'dns-account.yaml'), {
    account: MEMBER.account,
    region: 'us-east-1',
    stackName: 'acm-export-dns',
    parameters: {
      CentralAccountId: central.account,
      CentralRegion: CENTRAL.region,
      // That of every stack of the fleet.
      ExternalId: 'local-cloud-external-id',
      HostedZoneArns: zone.arn,
    },
  });
  cloud.services.acm.validation = 'public DNS';
  await quickNode(cloud, 'shop');
  cloud.settle();
});

test('a dry run names the zone and its account, and writes nothing', async () => {
  const ran = await cli('request shop --domain shop.example.com --dry-run');
  expect([ran.code, ran.out]).toEqual([
    0,
    expect.stringMatching(new RegExp(`Zones: +shop\\.example\\.com: Z[A-Z0-9]+ of ${MEMBER.account}\\n`)),
  ]);
  expect(fleet().cloud.record.callsOf('ChangeResourceRecordSets')).toEqual([]);
});

test('one command writes the record into the zone of another account, and leads to a served certificate', async () => {
  const ran = await cli('request shop --domain shop.example.com --deployments - --yes', { stdin: FILE });
  expect([ran.code, ran.err]).toEqual([0, expect.stringMatching(/^Warning: ACM charges .*\n$/)]);
  expect(ran.out).toMatch(/shop\/acm-export=shop: served\n {2}Every server serves it at its port, until /);
  const shown = await cli('request shop');
  expect(shown.out).toMatch(
    new RegExp(
      `^; shop\\.example\\.com: .*zone Z[A-Z0-9]+ of ${MEMBER.account}.*\\n_[0-9a-f]{32}\\.shop\\.example\\.com\\. IN CNAME _`,
      'm',
    ),
  );
  const written = fleet().cloud.record.callsOf('ChangeResourceRecordSets');
  expect(written.map(({ source, error }) => [source, error])).toEqual([
    ['function acm-export-write-validation-records', undefined],
  ]);
});

test('a zone whose servers public DNS does not ask is a refusal that names them, before ACM is asked', async () => {
  const { cloud } = fleet();
  const asked = cloud.record.callsOf('RequestCertificate').length;
  cloud.publicDns.delegate('example.com', ['ns1.other-provider.net', 'ns2.other-provider.net']);
  const ran = await cli('request shop --domain www.example.com --yes');
  expect([ran.code, ran.err]).toEqual([
    1,
    expect.stringMatching(/DomainNames: www\.example\.com: Public DNS asks ns1\.other-provider\.net/),
  ]);
  expect(cloud.record.callsOf('RequestCertificate')).toHaveLength(asked);
});
