import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  CreateSecretCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Cloud, startCloud } from 'local-cloud';

interface Received {
  method: string | undefined;
  url: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: what the example sends
  body: any;
}

const [ACCOUNT, REGION] = ['111122223333', 'eu-west-1'];
let cloud: Cloud;
const received: Received[] = [];
let answer = 200;
const appliance = createServer(async (request, response) => {
  const chunks = await Array.fromAsync(request);
  received.push({
    method: request.method,
    url: request.url,
    body: JSON.parse(Buffer.concat(chunks).toString()),
  });
  response.writeHead(answer).end();
});
beforeAll(async () => {
  cloud = await startCloud();
  await new Promise<void>((listening) => appliance.listen(0, '127.0.0.1', listening));
  process.env.APPLIANCE_URL = `http://127.0.0.1:${(appliance.address() as AddressInfo).port}`;
});
afterAll(async () => {
  appliance.close();
  await cloud.stop();
});

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const passphrase = 'made-for-this-test';
const bundle = {
  Certificate: 'leaf',
  CertificateChain: 'chain',
  PrivateKey: privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }),
  Passphrase: passphrase,
};

test('the example reads the version that the event names, and sends it with the key decrypted', async () => {
  const owner = cloud.createUser(ACCOUNT, 'owner', [
    { Statement: { Effect: 'Allow', Action: 'secretsmanager:*', Resource: '*' } },
  ]);
  const secrets = cloud.client(SecretsManagerClient, cloud.clientConfig(owner, REGION));
  const { ARN: SecretArn, VersionId } = await secrets.send(
    new CreateSecretCommand({ Name: 'shop', SecretString: JSON.stringify(bundle) }),
  );
  const newer = JSON.stringify({ ...bundle, Certificate: 'a newer leaf' });
  await secrets.send(new PutSecretValueCommand({ SecretId: SecretArn, SecretString: newer }));

  const reader = cloud.createUser(ACCOUNT, 'push-to-appliance', [
    {
      Statement: { Effect: 'Allow', Action: 'secretsmanager:GetSecretValue', Resource: SecretArn as string },
    },
  ]);
  Object.assign(process.env, {
    AWS_ENDPOINT_URL: cloud.endpoint,
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: reader.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: reader.credentials.secretAccessKey,
    AWS_SESSION_TOKEN: '',
  });
  // @ts-expect-error The example is JavaScript, as Lambda runs it.
  const { handler } = await import('../../docs/examples/push-to-appliance.mjs');
  const event = { detail: { SecretArn, VersionId, CertName: 'shop', Serial: 'ab12' } };
  expect(await handler(event)).toEqual({ CertName: 'shop', Serial: 'ab12' });
  const { method, url, body } = received[0] as Received;
  expect([method, url, body.certificate, body.chain]).toEqual(['PUT', '/certificates/shop', 'leaf', 'chain']);
  expect(createPrivateKey(body.key).equals(privateKey)).toBe(true);

  answer = 503;
  const failure = await handler(event).catch((error: Error) => error.message);
  expect(failure).toBe('The appliance answered 503 to serial ab12 of shop.');
  expect(failure).not.toContain(passphrase);
});
