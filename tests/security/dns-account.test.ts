import {
  type Change,
  ChangeResourceRecordSetsCommand,
  GetChangeCommand,
  GetHostedZoneCommand,
  ListHostedZonesByNameCommand,
  ListResourceRecordSetsCommand,
  Route53Client,
} from '@aws-sdk/client-route-53';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type Cloud, createCloud, type Identity, VirtualClock } from 'local-cloud';
import type { PolicyDocument } from 'local-cloud/iam';
import { CENTRAL, DNS, dnsStack, EXTERNAL_ID, OTHER_ZONE, ZONE } from '../templates/stacks.ts';

// A function that was taken over can leave out the policy of its session, and calls what it likes: real calls, decided by
// dns-account.yaml. Its own role is as wide as it can be.

const WRITER = 'write-validation-records';
const LOOKER = 'deployments-api';
const HEX = 'a79865eb4cd1a6ab990a45779b4e0b96';
const RECORD = `_${HEX}.www.example.com`;
const idOf = (arn: string) => arn.split('/')[1] as string;
const UNNAMED = 'Z9UNNAMED';

const clock = new VirtualClock();
let cloud: Cloud;
beforeAll(async () => {
  cloud = await createCloud({ clock, quotas: false });
  await cloud.deploy(dnsStack());
  const { route53 } = cloud.services;
  route53.createZone(DNS.account, 'example.com', { id: idOf(ZONE) });
  route53.createZone(DNS.account, 'example.org', { id: idOf(OTHER_ZONE) });
  route53.createZone(DNS.account, 'unnamed.example', { id: UNNAMED });
});
afterAll(() => cloud.stop());

/** A session of a function's role. */
function functionOf(name: string, region = CENTRAL.region, account = CENTRAL.account): Identity {
  const { identities } = cloud.services;
  const role = `acm-export-${name}-${region}`;
  const arn = `arn:aws:iam::${account}:role/${role}`;
  const all: PolicyDocument = {
    Version: '2012-10-17',
    Statement: { Effect: 'Allow', Action: ['sts:*', 'route53:*'], Resource: '*' },
  };
  const trustPolicy: PolicyDocument = {
    Version: '2012-10-17',
    Statement: {
      Effect: 'Allow',
      Principal: { Service: 'lambda.amazonaws.com' },
      Action: 'sts:AssumeRole',
    },
  };
  if (!identities.known(arn))
    identities.createRole(account, { name: role, trustPolicy, inlinePolicies: [all] });
  const session = { name, seconds: 3600, source: `function ${name}` };
  return identities.assumeAsService('lambda.amazonaws.com', arn, {}, session);
}

interface Taking {
  session?: string;
  externalId?: string | undefined;
  policy?: PolicyDocument;
}
/** Takes on the role of the DNS account. */
async function takeOn(by: Identity, taking: Taking = {}): Promise<Identity['credentials']> {
  const { session = `${WRITER}-www`, policy } = taking;
  const externalId = 'externalId' in taking ? taking.externalId : EXTERNAL_ID;
  const sts = cloud.client(STSClient, {
    region: CENTRAL.region,
    credentials: by.credentials,
    maxAttempts: 1,
  });
  const { Credentials } = await sts.send(
    new AssumeRoleCommand({
      RoleArn: `arn:aws:iam::${DNS.account}:role/acm-export-validation-records-${CENTRAL.region}`,
      RoleSessionName: session,
      ...(externalId === undefined ? {} : { ExternalId: externalId }),
      ...(policy === undefined ? {} : { Policy: JSON.stringify(policy) }),
    }),
  );
  return {
    accessKeyId: Credentials?.AccessKeyId ?? '',
    secretAccessKey: Credentials?.SecretAccessKey ?? '',
    sessionToken: Credentials?.SessionToken ?? '',
  };
}

const clientOf = (credentials: Identity['credentials']) =>
  cloud.client(Route53Client, { region: CENTRAL.region, credentials, maxAttempts: 1 });
const change = (
  Name: string,
  Action: 'CREATE' | 'DELETE' | 'UPSERT' = 'UPSERT',
  Type: 'A' | 'CNAME' | 'NS' | 'TXT' = 'CNAME',
  Value = '_b.acm-validations.aws.',
): Change => ({
  Action,
  ResourceRecordSet: { Name, Type, TTL: 300, ResourceRecords: [{ Value }] },
});
const writing = (Changes: Change[], HostedZoneId = idOf(ZONE)) =>
  new ChangeResourceRecordSetsCommand({ HostedZoneId, ChangeBatch: { Changes } });
const recordsOf = (id: string) =>
  [...cloud.services.route53.zone(id).records.values()].map(({ name, type }) => `${name} ${type}`).sort();

describe('the function that writes', () => {
  let route53: Route53Client;
  beforeEach(async () => {
    route53 = clientOf(await takeOn(functionOf(WRITER)));
  });

  test('finds the zone, writes the records, and sees that the servers have them', async () => {
    const { HostedZones } = await route53.send(new ListHostedZonesByNameCommand({ DNSName: 'example.com' }));
    const Id = HostedZones?.[0]?.Id ?? '';
    expect(Id).toBe(`/hostedzone/${idOf(ZONE)}`);
    await route53.send(new GetHostedZoneCommand({ Id }));
    await route53.send(new ListResourceRecordSetsCommand({ HostedZoneId: Id }));
    const { ChangeInfo } = await route53.send(
      writing([change(`${RECORD.toUpperCase()}.`), change(`_${HEX}.example.com`)]),
    );
    await route53.send(new GetChangeCommand({ Id: ChangeInfo?.Id }));
    expect(recordsOf(idOf(ZONE))).toEqual([
      `_${HEX}.example.com. CNAME`,
      `_${HEX}.www.example.com. CNAME`,
      'example.com. NS',
      'example.com. SOA',
    ]);
  });

  const FORBIDDEN: [what: string, changes: Change[], zone?: string][] = [
    ['the servers of a name', [change('www.example.com', 'UPSERT', 'A', '192.0.2.1')]],
    ['where a name leads', [change('www.example.com')]],
    ['a delegation', [change('example.com', 'UPSERT', 'NS', 'ns.attacker.test')]],
    ['a delegation in the form of a record', [change(RECORD, 'UPSERT', 'NS', 'ns.attacker.test')]],
    ['a text', [change(RECORD, 'UPSERT', 'TXT', '"v=spf1 +all"')]],
    ['a wildcard', [change('*.example.com')]],
    ['a wildcard before a record', [change(`*.${RECORD}`)]],
    ['a record that is there', [change(RECORD, 'DELETE')]],
    ['a new one by CREATE', [change(`_${HEX.replace('a', 'b')}.example.com`, 'CREATE')]],
    ['a good record and a bad one', [change(RECORD), change('www.example.com')]],
    ['a bad record and a good one', [change('www.example.com', 'UPSERT', 'A', '192.0.2.1'), change(RECORD)]],
    ['a record, and its deletion', [change(RECORD), change(`_${HEX}.example.com`, 'DELETE')]],
    ['what ACME looks at', [change('_acme-challenge.example.com')]],
    [
      'what ACME looks at, of a name of the right length',
      [change(`_acme-challenge.${'a'.repeat(17)}.example.com`)],
    ],
    // `\\056` is a dot that ends no label: the first part is longer than it looks.
    ['a dot in disguise', [change(`_acme-challenge\\056${'a'.repeat(13)}.example.com`)]],
    ['a key of mail', [change(`_${HEX}._domainkey.example.com`)]],
    ['a zone that is not named', [change(`_${HEX}.unnamed.example`)], UNNAMED],
  ];
  test.each(FORBIDDEN.map(([what, changes, zone = idOf(ZONE)]) => ({ what, changes, zone })))(
    'cannot write $what',
    async ({ changes, zone }) => {
      const before = [recordsOf(idOf(ZONE)), recordsOf(UNNAMED)];
      await expect(route53.send(writing(changes, zone))).rejects.toMatchObject({ name: 'AccessDenied' });
      expect([recordsOf(idOf(ZONE)), recordsOf(UNNAMED)]).toEqual(before);
    },
  );

  test('can send no empty batch', async () => {
    await expect(route53.send(writing([]))).rejects.toThrow();
  });

  test('reads no zone that is not named', async () => {
    await expect(route53.send(new GetHostedZoneCommand({ Id: UNNAMED }))).rejects.toMatchObject({
      name: 'AccessDenied',
    });
    await expect(
      route53.send(new ListResourceRecordSetsCommand({ HostedZoneId: UNNAMED })),
    ).rejects.toMatchObject({ name: 'AccessDenied' });
  });

  test('gets no more by the policy of its session', async () => {
    const policy: PolicyDocument = {
      Version: '2012-10-17',
      Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
    };
    const wide = clientOf(await takeOn(functionOf(WRITER), { policy }));
    await expect(wide.send(writing([change('www.example.com')]))).rejects.toMatchObject({
      name: 'AccessDenied',
    });
    await wide.send(writing([change(RECORD)]));
  });
});

test('the function that looks reads the zones and writes nothing', async () => {
  const route53 = clientOf(await takeOn(functionOf(LOOKER), { session: `${LOOKER}-www` }));
  await route53.send(new ListHostedZonesByNameCommand({}));
  await route53.send(new GetHostedZoneCommand({ Id: idOf(ZONE) }));
  await route53.send(new ListResourceRecordSetsCommand({ HostedZoneId: idOf(OTHER_ZONE) }));
  await expect(route53.send(writing([change(RECORD)]))).rejects.toMatchObject({ name: 'AccessDenied' });
  await expect(route53.send(new GetChangeCommand({ Id: 'C0' }))).rejects.toMatchObject({
    name: 'AccessDenied',
  });
});

describe('the role is closed', () => {
  test.each<[string, () => Identity, Taking]>([
    ['to the one who looks, as the writer', () => functionOf(LOOKER), { session: `${WRITER}-www` }],
    ['to the writer, as the one who looks', () => functionOf(WRITER), { session: `${LOOKER}-www` }],
    ['to a session of another name', () => functionOf(WRITER), { session: 'www' }],
    ['without an external id', () => functionOf(WRITER), { externalId: undefined }],
    ['with another external id', () => functionOf(WRITER), { externalId: `${EXTERNAL_ID}-2` }],
    ['to the writer of another Region', () => functionOf(WRITER, 'eu-west-1'), {}],
    ['to the writer in another account', () => functionOf(WRITER, CENTRAL.region, '999988887777'), {}],
    ['to the writer in its own account', () => functionOf(WRITER, CENTRAL.region, DNS.account), {}],
    ['to the function that requests', () => functionOf('request-certificate'), {}],
    ['to the function that exports', () => functionOf('export-certificate'), {}],
    ['to reconcile', () => functionOf('reconcile'), { session: 'reconcile-www' }],
    [
      'to an administrator of the central account',
      () =>
        cloud.createUser(CENTRAL.account, 'administrator', [
          { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
        ]),
      {},
    ],
  ])('%s', async (_whom, by, taking) => {
    await expect(takeOn(by(), taking)).rejects.toThrow(/not authorized to perform: sts:AssumeRole/);
  });

  test('to a session that is taken on from it', async () => {
    const credentials = await takeOn(functionOf(WRITER));
    await expect(takeOn({ credentials } as Identity)).rejects.toThrow(
      /not authorized to perform: sts:AssumeRole/,
    );
  });
});
