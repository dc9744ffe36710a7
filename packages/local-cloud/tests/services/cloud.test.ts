import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  ACMClient,
  DescribeCertificateCommand,
  ListCertificatesCommand,
  RequestCertificateCommand,
} from '@aws-sdk/client-acm';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { expect, test } from '@jest/globals';
import { startCloud } from '../../src/cloud.ts';
import { operations } from '../../src/iam/operations.ts';
import { ACCOUNT, allow, REGION, signedCall, testCloud, trust, until } from './test-cloud.ts';

const cloud = testCloud();
const client = (identity = cloud.administrator(), maxAttempts = 1) =>
  new ACMClient({ ...cloud().clientConfig(identity, REGION), maxAttempts });
const list = (acm = client()) => acm.send(new ListCertificatesCommand({}));
const request = (acm = client()) => acm.send(new RequestCertificateCommand({ DomainName: 'a.example.com' }));

test('a call that no policy allows is refused in AWS’s words, and everything decided is recorded', async () => {
  const nobody = cloud().createUser(ACCOUNT, 'nobody', [allow('acm:DescribeCertificate')]);
  const arn = `arn:aws:iam::${ACCOUNT}:user/nobody`;
  const message = `User: ${arn} is not authorized to perform: acm:ListCertificates because no identity-based policy allows the acm:ListCertificates action`;
  await expect(list(client(nobody))).rejects.toMatchObject({ name: 'AccessDeniedException', message });
  expect(cloud().record.callsOf('ListCertificates').at(-1)).toMatchObject({
    operation: 'CertificateManager.ListCertificates',
    account: ACCOUNT,
    region: REGION,
    principalArn: arn,
    source: 'client',
    error: 'AccessDeniedException',
    decisions: [
      {
        request: { action: 'acm:ListCertificates', context: { 'aws:RequestedRegion': REGION } },
        decision: { allowed: false },
      },
    ],
  });
});

test('every operation that a service answers has a row in the table of operations', () => {
  const rows = operations.map(({ operation }) => operation);
  const answered = Object.values(cloud().services).flatMap((service) =>
    'operations' in service ? Object.keys(service.operations) : [],
  );
  expect(answered.length).toBeGreaterThan(40);
  expect(answered.filter((operation) => !rows.includes(operation))).toEqual([]);
});

test('a signature that is missing, forged or for another service is worth nothing', async () => {
  const headers = {
    'x-amz-target': 'CertificateManager.ListCertificates',
    'content-type': 'application/x-amz-json-1.1',
  };
  const unsigned = await fetch(cloud().endpoint, { method: 'POST', headers, body: '{}' });
  expect([unsigned.status, ((await unsigned.json()) as { __type: string }).__type]).toEqual([
    400,
    'MissingAuthenticationTokenException',
  ]);
  const administrator = cloud.administrator();
  const forged = {
    ...administrator,
    credentials: { ...administrator.credentials, secretAccessKey: 'x'.repeat(40) },
  };
  await expect(list(client(forged))).rejects.toMatchObject({ name: 'InvalidSignatureException' });
  const elsewhere = await signedCall(cloud(), administrator, 'ssm', { headers, body: '{}' });
  expect(await elsewhere.json()).toMatchObject({
    message: expect.stringContaining("scoped to correct service: 'acm'"),
  });
  const sts = new STSClient(cloud().clientConfig(forged, REGION));
  await expect(sts.send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({
    name: 'SignatureDoesNotMatch',
  });
});

test('faults meet the calls that they were planned for, as often as planned', async () => {
  const { faults } = cloud();
  faults.inject({ operation: 'ListCertificates', kind: 'throttle' });
  await expect(list()).rejects.toMatchObject({ name: 'ThrottlingException' });
  faults.inject({ operation: 'CertificateManager.ListCertificates', kind: 'server-error' });
  await expect(list()).rejects.toMatchObject({ $metadata: { httpStatusCode: 500 } });
  await list();

  const certificates = async () => (await list()).CertificateSummaryList?.length ?? 0;
  const before = await certificates();
  faults.inject({ operation: 'RequestCertificate', kind: 'timeout' });
  await expect(request()).rejects.toThrow();
  expect(await certificates()).toBe(before);
  faults.inject({ operation: 'RequestCertificate', kind: 'answer-lost' });
  await expect(request()).rejects.toThrow();
  expect(await certificates()).toBe(before + 1);
  await cloud().idle();

  const planned = faults.inject({
    operation: 'ListCertificates',
    kind: 'throttle',
    times: 5,
    when: ({ region }) => region !== REGION,
  });
  await list();
  expect(planned.left).toBe(5);
  planned.remove();
  // The SDK's own retries meet them too.
  faults.inject({ operation: 'ListCertificates', kind: 'throttle', times: 2 });
  await list(client(cloud.administrator(), 3));
});

test('a function can be ended between a call and its answer, and its next run sees what the call did', async () => {
  const { identities, lambda } = cloud().services;
  identities.createRole(ACCOUNT, {
    name: 'crashing',
    trustPolicy: trust({ Service: 'lambda.amazonaws.com' }),
    inlinePolicies: [allow('*')],
  });
  const handlerFile = fileURLToPath(new URL('./ask-acm.mjs', `file://${cloud().folder}/`));
  const acm = fileURLToPath(import.meta.resolve('@aws-sdk/client-acm'));
  writeFileSync(
    handlerFile,
    `import { createRequire } from 'node:module';
     const { ACMClient, RequestCertificateCommand } = createRequire(import.meta.url)('${acm}');
     export const handler = async () => (await new ACMClient({}).send(new RequestCertificateCommand({ DomainName: 'crash.example.com', IdempotencyToken: 'once' }))).CertificateArn;`,
  );
  const FunctionName = lambda.createFunction({
    account: ACCOUNT,
    region: REGION,
    name: 'crashing',
    roleArn: `arn:aws:iam::${ACCOUNT}:role/crashing`,
    handlerFile,
    timeoutSeconds: 10,
  });
  const run = async () => {
    const path = `/2015-03-31/functions/${encodeURIComponent(FunctionName)}/invocations`;
    return (await signedCall(cloud(), cloud.administrator(), 'lambda', { path, body: '{}' })).json();
  };
  cloud().faults.inject({
    operation: 'RequestCertificate',
    kind: 'crash-after-effect',
    when: ({ source }) => source === 'function crashing',
  });
  expect(await run()).toMatchObject({ errorType: 'Runtime.ExitError' });
  const arn = await run();
  const calls = cloud()
    .record.callsOf('RequestCertificate')
    .filter(({ source }) => source === 'function crashing');
  expect(
    calls.map(({ error, output }) => [error, (output as { CertificateArn?: string })?.CertificateArn]),
  ).toEqual([
    ['NoAnswer', undefined],
    [undefined, arn],
  ]);
});

test('quotas of the documentation hold for each account and Region when they are switched on', async () => {
  const describeOnce = async () => {
    const unknown = `arn:aws:acm:${REGION}:${ACCOUNT}:certificate/00000000-0000-4000-8000-000000000000`;
    return client()
      .send(new DescribeCertificateCommand({ CertificateArn: unknown }))
      .catch(({ name }) => name);
  };
  // A quota fills up again so slowly here that it does not matter how fast this machine is.
  const slow = await startCloud({ timeScale: 1000 });
  try {
    const administrator = slow.createUser(ACCOUNT, 'administrator', [allow('*')]);
    const acm = new ACMClient({ ...slow.clientConfig(administrator, REGION), maxAttempts: 1 });
    const other = new ACMClient({ ...slow.clientConfig(administrator, 'us-east-1'), maxAttempts: 1 });
    const many = (with_: ACMClient) =>
      Promise.allSettled(Array.from({ length: 30 }, () => with_.send(new ListCertificatesCommand({}))));
    const refused = (await many(acm)).filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(10);
    expect(refused[0]).toMatchObject({ reason: { name: 'ThrottlingException' } });
    await other.send(new ListCertificatesCommand({}));
    slow.setQuotas(false);
    expect((await many(acm)).every(({ status }) => status === 'fulfilled')).toBe(true);
  } finally {
    await slow.stop();
  }
  const results = await Promise.all(Array.from({ length: 30 }, describeOnce));
  expect(new Set(results)).toEqual(new Set(['ResourceNotFoundException']));
});

test('what is not modelled is refused loudly, and the cloud does not stop in peace', async () => {
  const reported: string[] = [];
  const other = await startCloud({ report: (failure) => reported.push(failure) });
  const administrator = other.createUser(ACCOUNT, 'administrator', [allow('*')]);
  const ssm = new SSMClient(other.clientConfig(administrator, REGION));
  await expect(ssm.send(new GetParameterCommand({ Name: 'x' }))).rejects.toMatchObject({
    name: 'NotModelled',
  });
  expect(reported).toEqual([expect.stringContaining('AmazonSSM.GetParameter')]);
  await expect(other.stop()).rejects.toThrow('AmazonSSM.GetParameter');
  expect(existsSync(other.folder)).toBe(false);
});

test('a node’s role is read with an IMDSv2 token only, and is the node’s own', async () => {
  const node = await cloud().createNode(ACCOUNT, REGION, {
    tags: { env: 'prod' },
    inlinePolicies: [allow('secretsmanager:GetSecretValue')],
  });
  const endpoint = node.spec.environment.AWS_EC2_METADATA_SERVICE_ENDPOINT as string;
  const path = `${endpoint}/latest/meta-data/iam/security-credentials/`;
  expect((await fetch(path)).status).toBe(401);
  const asked = await fetch(`${endpoint}/latest/api/token`, {
    method: 'PUT',
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' },
  });
  const withToken = { headers: { 'x-aws-ec2-metadata-token': await asked.text() } };
  const roleName = await (await fetch(path, withToken)).text();
  const answer = (await (await fetch(`${path}${roleName}`, withToken)).json()) as Record<string, string>;
  const { AccessKeyId = '', SecretAccessKey = '', Token = '' } = answer;
  const credentials = { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token };
  const sts = new STSClient({ endpoint: cloud().endpoint, region: REGION, credentials });
  const { Arn } = await sts.send(new GetCallerIdentityCommand({}));
  expect(Arn).toBe(`arn:aws:sts::${ACCOUNT}:assumed-role/node-${node.id}/${node.id}`);
  const secrets = new SecretsManagerClient({ endpoint: cloud().endpoint, region: REGION, credentials });
  await expect(secrets.send(new GetSecretValueCommand({ SecretId: 'absent' }))).rejects.toMatchObject({
    name: 'ResourceNotFoundException',
  });
  const call = cloud().record.callsOf('GetSecretValue').at(-1);
  expect(call).toMatchObject({ source: `node ${node.id}`, principal: { tags: { env: 'prod' } } });
});

test('everything that a cloud writes is private to its user', async () => {
  await cloud().createNode(ACCOUNT, REGION);
  expect(statSync(cloud().folder).mode & 0o777).toBe(0o700);
});

test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
  'a cloud that is ended by %s leaves no folder and no process behind',
  async (signal) => {
    const program = `
    import { existsSync } from 'node:fs';
    import { startCloud } from '${new URL('../../src/cloud.ts', import.meta.url)}';
    const cloud = await startCloud();
    const { id } = await cloud.createNode('${ACCOUNT}', '${REGION}');
    const { ssmDocuments, runCommand } = cloud.services;
    const inputs = { runCommand: ['echo $$ >"$LOCAL_NODE_ROOT/pid"; sleep 60'] };
    const content = { schemaVersion: '2.2', mainSteps: [{ action: 'aws:runShellScript', name: 'Wait', inputs }] };
    ssmDocuments.create('${ACCOUNT}', '${REGION}', { name: 'wait', type: 'Command', content });
    const caller = { account: '${ACCOUNT}', region: '${REGION}', source: 'client' };
    runCommand.operations['AmazonSSM.SendCommand']({ DocumentName: 'wait', InstanceIds: [id] }, caller);
    while (!existsSync(cloud.folder + '/nodes/' + id + '/pid')) await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(cloud.folder);
    setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const [line] = await once(child.stdout, 'data');
    const folder = String(line).trim();
    expect(existsSync(join(folder, 'nodes'))).toBe(true);
    child.kill(signal);
    const [, ended] = await once(child, 'exit');
    expect(ended).toBe(signal);
    await until(() => !existsSync(folder) && !commandLines().some((line) => line.includes(folder)));
  },
);

/** Of all processes. One that ends meanwhile has none. */
function commandLines(): string[] {
  const read = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    } catch {
      return '';
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(read);
}
