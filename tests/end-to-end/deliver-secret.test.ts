import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { expect, test } from '@jest/globals';
import { CENTRAL, requestCertificate } from '../../local/example-fleet.ts';
import { deploy, order, plainNode, testFleet } from './test-fleet.ts';

const fleet = testFleet({ central: { parameters: { SecretReaderRoles: 'reader-*' } } });

/** Reads a bundle with the session of a role that has no policy of its own, and any tags. */
async function readAs(name: string, SecretId: string, tags: Record<string, string> = {}) {
  const { cloud } = fleet();
  cloud.services.identities.createRole(CENTRAL.account, {
    name,
    trustPolicy: {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: `arn:aws:iam::${CENTRAL.account}:root` },
          Action: 'sts:AssumeRole',
        },
      ],
    },
    inlinePolicies:
      name === 'administrator'
        ? [{ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }]
        : [],
    tags,
  });
  // The role was there before the order.
  cloud.settle();
  const user = cloud.createUser(CENTRAL.account, `user-of-${name}`, [
    { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'sts:AssumeRole', Resource: '*' }] },
  ]);
  const { Credentials } = await new STSClient(cloud.clientConfig(user, CENTRAL.region)).send(
    new AssumeRoleCommand({
      RoleArn: `arn:aws:iam::${CENTRAL.account}:role/${name}`,
      RoleSessionName: 'reads',
    }),
  );
  const credentials = {
    accessKeyId: Credentials?.AccessKeyId ?? '',
    secretAccessKey: Credentials?.SecretAccessKey ?? '',
    sessionToken: Credentials?.SessionToken ?? '',
  };
  const client = new SecretsManagerClient({ endpoint: cloud.endpoint, region: CENTRAL.region, credentials });
  return client.send(new GetSecretValueCommand({ SecretId })).then(
    ({ SecretString = '{}' }) => Object.keys(JSON.parse(SecretString)),
    (error: Error) => error.name,
  );
}

test('a delivered secret is read by exactly the roles that the request names', async () => {
  const arn = await requestCertificate(fleet(), 'bundle', ['bundle.example.com']);
  const node = await plainNode(fleet(), 'bundle');
  const { deployment } = await deploy(
    fleet(),
    'bundle',
    order(arn, 'bundle', {
      Delivery: 'secret',
      ReaderRoleArns: [`arn:aws:iam::${CENTRAL.account}:role/reader-ecs`],
    }),
  );
  expect(deployment).toMatchObject({ Status: 'INSTALLED', Nodes: [] });
  const secret = `acm-export/bundle/${deployment.DeploymentId}`;
  const tag = { 'acm-export': 'bundle' };
  expect(await readAs('reader-ecs', secret)).toEqual(
    expect.arrayContaining(['Certificate', 'PrivateKey', 'Passphrase']),
  );
  expect(await readAs('reader-other', secret, tag)).toBe('AccessDeniedException');
  expect(await readAs('administrator', secret, tag)).toBe('AccessDeniedException');
  const onNode = new SecretsManagerClient(fleet().cloud.clientConfig(node.identity(), CENTRAL.region));
  await expect(onNode.send(new GetSecretValueCommand({ SecretId: secret }))).rejects.toMatchObject({
    name: 'AccessDeniedException',
  });
  const events = fleet().cloud.record.callsOf('PutEvents');
  expect(events.map(({ region, error }) => [region, error])).toEqual([[CENTRAL.region, undefined]]);
});
