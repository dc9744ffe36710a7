import { type ChildProcess, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { ACMClient, DeleteCertificateCommand, RequestCertificateCommand } from '@aws-sdk/client-acm';
import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import {
  ChangeResourceRecordSetsCommand,
  CreateHostedZoneCommand,
  ListResourceRecordSetsCommand,
  Route53Client,
} from '@aws-sdk/client-route-53';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describeRequested } from '../../functions/certificates/describe-requested.ts';
import { findBeforeAsking, findEqual } from '../../functions/certificates/find-equal.ts';
import { nameServersOf, zonesFrom } from '../../functions/dns/zones.ts';
import type { CertificateRequest } from '../../functions/domain/certificate-request.ts';
import { Inventory } from '../../functions/inventory/inventory.ts';
import { compose as composeRequest } from '../../functions/request-certificate/handler.ts';
import { systemClock } from '../../functions/runtime/clock.ts';
import { compose as composeWrite } from '../../functions/write-validation-records/handler.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/until.ts';

// A request for a certificate against moto, which others have written from AWS's documentation: its ACM, Route 53, STS and
// DynamoDB share nothing with the local cloud. Moto checks no policies. It knows zones by their names and by nothing else, so
// public DNS is said here: it asks the servers that moto gave a zone.

const REGION = 'eu-central-1';
/** The account of keys that moto did not make. */
const CENTRAL = '123456789012';
const DNS = '444455556666';
const TABLE = 'acm-export-inventory';

let server: ChildProcess | undefined;
let endpoint = '';
let person: Route53Client;
let inventory: Inventory;
let environment: Record<string, string>;

const CREDENTIALS = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'any' };
const config = (given: object = {}) => ({
  region: REGION,
  endpoint,
  credentials: CREDENTIALS,
  maxAttempts: 1,
  ...given,
});
const documents = () => DynamoDBDocumentClient.from(new DynamoDBClient(config()));

/** The name servers that public DNS asks, by the name of the zone. */
const delegated = new Map<string, string[]>();
const none = (name: string) => Promise.reject(Object.assign(new Error(name), { code: 'ENOTFOUND' }));
const dns = () => ({
  resolveCaa: none,
  resolveCname: none,
  resolveNs: async (name: string) => delegated.get(name) ?? none(name),
});

const clients = {
  acm: (given: object) => new ACMClient(config(given)),
  dns,
  documents,
  route53: (given: object = {}) => new Route53Client(config(given)),
  sts: () => new STSClient(config()),
};

needs('moto').describe('against moto', () => {
  beforeAll(async () => {
    // A port that is free: the server says which one. Moto issues by the clock: so late that the records are written before,
    // on a slow machine, too. No record is written of a certificate that is issued.
    const env = { ...process.env, MOTO_ACM_VALIDATION_WAIT: '10' };
    const child = spawn('moto_server', ['-H', '127.0.0.1', '-p', '0'], { env, cwd: tmpdir() });
    server = child;
    let said = '';
    child.stdout.on('data', (data) => (said += data));
    child.stderr.on('data', (data) => (said += data));
    const port = await until(
      'the server of moto',
      () => /http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1],
      () => said,
    );
    endpoint = `http://127.0.0.1:${port}`;
    person = new Route53Client(config({ credentials: await sessionIn(DNS) }));
    await new DynamoDBClient(config()).send(
      new CreateTableCommand({
        TableName: TABLE,
        BillingMode: 'PAY_PER_REQUEST',
        KeySchema: [
          { AttributeName: 'DeploymentId', KeyType: 'HASH' },
          { AttributeName: 'Item', KeyType: 'RANGE' },
        ],
        AttributeDefinitions: [
          { AttributeName: 'DeploymentId', AttributeType: 'S' },
          { AttributeName: 'Item', AttributeType: 'S' },
        ],
      }),
    );
    inventory = new Inventory(documents(), TABLE, systemClock.now);
    environment = {
      PREFIX: 'acm-export',
      PARTITION: 'aws',
      EXTERNAL_ID: 'external-id',
      AWS_REGION: REGION,
      ACCOUNT_ID: CENTRAL,
      INVENTORY_TABLE: TABLE,
      REQUEST_RULES: '*=.harbour.dev,*=harbour.dev,*=*.harbour.dev',
      MAX_CERTIFICATES_PER_DAY: '10',
      DNS_ACCOUNTS: `${CENTRAL},${DNS}`,
    };
  });
  afterAll(() => {
    server?.kill();
  });

  test('a request is asked for, its records are written into the zone of another account, and it is done', async () => {
    const zone = await createZone('harbour.dev');
    await createZone('harbour.dev', { private: true });
    const input = await open('harbour', ['harbour.dev', '*.harbour.dev', 'quay.harbour.dev']);
    const { requestCertificate, writeRecords } = functions();

    expect(await requestCertificate(input)).toMatchObject({ Action: 'WAIT' });
    const asked = await noted('harbour');
    expect(asked).toMatchObject({ Status: 'VALIDATING', CertificateArn: expect.stringContaining(CENTRAL) });

    expect(await requestCertificate(input)).toMatchObject({ Action: 'WRITE' });
    const { Records = [] } = await noted('harbour');
    expect(Records.map(({ DomainNames }) => DomainNames.toSorted()).toSorted()).toEqual([
      ['*.harbour.dev', 'harbour.dev'],
      ['quay.harbour.dev'],
    ]);

    expect(await writeRecords(input)).toMatchObject({ WaitSeconds: 10 });
    expect(await writeRecords(input)).toMatchObject({ WaitSeconds: 30 });
    const { Written = {}, WritingFailure } = await noted('harbour');
    expect(WritingFailure).toBeUndefined();
    for (const { Name, Value } of Records) {
      expect(Written[Name]).toMatchObject({ HostedZoneId: zone, Account: DNS, InSyncAt: expect.any(String) });
      expect(await cnamesAt(zone, Name)).toEqual([Value]);
    }

    await until('the certificate', async () => (await requestCertificate(input)).Action === 'END');
    expect(await noted('harbour')).toMatchObject({ Status: 'DONE', CertificateArn: asked.CertificateArn });
  });

  test('what the zone has at the name of a record is not overwritten', async () => {
    const zone = await createZone('dock.harbour.dev');
    const input = await open('dock', ['dock.harbour.dev']);
    const { requestCertificate, writeRecords } = functions();
    await requestCertificate(input);
    await requestCertificate(input);
    const [{ Name = '' } = {}] = (await noted('dock')).Records ?? [];
    await person.send(
      new ChangeResourceRecordSetsCommand({
        HostedZoneId: zone,
        ChangeBatch: {
          Changes: [
            {
              Action: 'CREATE',
              ResourceRecordSet: {
                Name,
                Type: 'CNAME',
                TTL: 60,
                ResourceRecords: [{ Value: 'elsewhere.org.' }],
              },
            },
          ],
        },
      }),
    );
    await writeRecords(input);
    expect((await noted('dock')).WritingFailure).toMatch(
      `${zone} of account ${DNS} has another record at ${Name}`,
    );
    expect(await cnamesAt(zone, Name)).toEqual(['elsewhere.org.']);
  });

  test('an equal certificate is found, and one with more or fewer names is not', async () => {
    const acm = clients.acm({});
    const names = ['mole.harbour.dev', 'pier.harbour.dev'];
    const arn = await certificate(names, 'mole');
    const equal = (DomainNames: string[]) => findEqual(acm, { DomainNames, KeyAlgorithm: 'RSA_2048' });
    expect(await equal(names.toReversed())).toMatchObject({ CertificateArn: arn });
    // Its first name is the DomainName of the one that is there.
    expect(await equal(['mole.harbour.dev'])).toBeUndefined();
    expect(await equal([...names, 'x.harbour.dev'])).toBeUndefined();
    const Wish = { DomainNames: names, KeyAlgorithm: 'RSA_2048' as const, Tags: {}, Deployments: [] };
    const AskingSince = new Date(Date.now() - 1000).toISOString();
    const before = (CertName: string) =>
      findBeforeAsking(acm, { CertName, Wish, AskingSince }, { isLate: false });
    expect(await before('mole')).toMatchObject({ own: { CertificateArn: arn } });
    expect(await before('other')).toMatchObject({ other: { CertificateArn: arn } });
  });

  test('a certificate that was deleted is gone', async () => {
    const arn = await certificate(['buoy.harbour.dev'], 'buoy');
    expect(await describeRequested(clients.acm({}), arn)).toMatchObject({ Records: [expect.anything()] });
    await clients.acm({}).send(new DeleteCertificateCommand({ CertificateArn: arn }));
    expect(await describeRequested(clients.acm({}), arn)).toBe('gone');
  });

  test('zones are found by exactly their names, and a private one has no servers', async () => {
    const zone = await createZone('rope.harbour.dev');
    const hidden = await createZone('rope.harbour.dev', { private: true });
    await createZone('tow.rope.harbour.dev');
    const { same: zones } = await zonesFrom(person, 'rope.harbour.dev');
    expect(zones.toSorted((a, b) => Number(a.isPrivate) - Number(b.isPrivate))).toEqual([
      { Name: 'rope.harbour.dev', HostedZoneId: zone, isPrivate: false },
      { Name: 'rope.harbour.dev', HostedZoneId: hidden, isPrivate: true },
    ]);
    expect((await zonesFrom(person, 'ope.harbour.dev')).same).toEqual([]);
    expect(await nameServersOf(person, hidden)).toEqual([]);
    await expect(nameServersOf(person, 'Z00000000000000000000')).rejects.toMatchObject({
      name: 'NoSuchHostedZone',
    });
  });
});

/** Keys in another account: moto lets everybody in. */
async function sessionIn(account: string) {
  const assumed = new AssumeRoleCommand({
    RoleArn: `arn:aws:iam::${account}:role/person`,
    RoleSessionName: 'person',
  });
  const { Credentials } = await new STSClient(config()).send(assumed);
  return {
    accessKeyId: Credentials?.AccessKeyId ?? '',
    secretAccessKey: Credentials?.SecretAccessKey ?? '',
    sessionToken: Credentials?.SessionToken ?? '',
  };
}

/** A zone in the DNS account; public DNS asks it, unless it is private. @returns its id. */
async function createZone(Name: string, { private: isPrivate = false } = {}): Promise<string> {
  const { HostedZone } = await person.send(
    new CreateHostedZoneCommand({
      Name,
      CallerReference: `${Name} ${isPrivate}`,
      HostedZoneConfig: { PrivateZone: isPrivate },
      ...(isPrivate ? { VPC: { VPCId: 'vpc-0123456789abcdef0', VPCRegion: REGION } } : {}),
    }),
  );
  const id = HostedZone?.Id?.split('/').at(-1) ?? '';
  if (!isPrivate) {
    delegated.set(Name, await nameServersOf(person, id));
  }
  return id;
}

async function cnamesAt(HostedZoneId: string, name: string): Promise<string[]> {
  const { ResourceRecordSets = [] } = await person.send(new ListResourceRecordSetsCommand({ HostedZoneId }));
  return ResourceRecordSets.filter(({ Name, Type }) => Name === name && Type === 'CNAME').flatMap(
    ({ ResourceRecords = [] }) => ResourceRecords.map(({ Value = '' }) => Value),
  );
}

/** As deployments-api writes it, when all its looks are done. */
async function open(CertName: string, DomainNames: string[]) {
  const now = new Date().toISOString();
  const request: CertificateRequest = {
    CertName,
    RequestNumber: 1,
    Status: 'ASKING',
    Wish: { DomainNames, KeyAlgorithm: 'RSA_2048', Tags: { team: 'harbour' }, Deployments: [] },
    CorrelationId: 'moto',
    CreatedAt: now,
    UpdatedAt: now,
  };
  await inventory.requests.open(undefined, request);
  return { CertName, RequestNumber: 1 };
}

const noted = async (certName: string): Promise<CertificateRequest> => {
  const request = await inventory.requests.get(certName);
  if (!request) throw new Error(`no request ${certName}`);
  return request;
};

const functions = () => ({
  requestCertificate: composeRequest(
    environment,
    clients as Parameters<typeof composeRequest>[1],
    systemClock,
  ),
  writeRecords: composeWrite(environment, clients as Parameters<typeof composeWrite>[1], systemClock),
});

async function certificate([DomainName, ...others]: string[], certName: string): Promise<string> {
  const { CertificateArn = '' } = await clients.acm({}).send(
    new RequestCertificateCommand({
      DomainName,
      ...(others.length > 0 ? { SubjectAlternativeNames: others } : {}),
      ValidationMethod: 'DNS',
      Options: { Export: 'ENABLED' },
      Tags: [{ Key: 'CertName', Value: certName }],
    }),
  );
  return CertificateArn;
}
