import { Sha256 } from '@aws-crypto/sha256-js';
import { afterAll, beforeAll } from '@jest/globals';
import { SignatureV4 } from '@smithy/signature-v4';
import { type Cloud, type CloudOptions, startCloud } from '../../src/cloud.ts';
import type { PolicyDocument } from '../../src/iam/evaluate.ts';
import type { Identity } from '../../src/services/identities.ts';
import { until as untilSo } from '../support/until.ts';

export const ACCOUNT = '111122223333';
export const OTHER_ACCOUNT = '444455556666';
export const REGION = 'eu-west-1';
export const OTHER_REGION = 'us-east-1';

export const allow = (Action: string | string[], Resource: string | string[] = '*'): PolicyDocument => ({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action, Resource }],
});

export const trust = (principal: { Service: string } | { AWS: string }, Condition = {}): PolicyDocument => ({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: principal, Action: 'sts:AssumeRole', Condition }],
});

/** One cloud for the tests of a file, with waits a hundred times faster and no quotas unless they are asked for. */
export function testCloud(options: CloudOptions = {}): {
  (): Cloud;
  administrator(account?: string): Identity;
} {
  let cloud: Cloud;
  const administrators = new Map<string, Identity>();
  beforeAll(async () => {
    cloud = await startCloud({ timeScale: 0.01, quotas: false, ...options });
  });
  afterAll(() => cloud.stop());
  return Object.assign(() => cloud, {
    administrator(account = ACCOUNT): Identity {
      const known = administrators.get(account) ?? cloud.createUser(account, 'administrator', [allow('*')]);
      administrators.set(account, known);
      return known;
    },
  });
}

/** A signed request for services whose SDK client is not a dependency here. */
export async function signedCall(
  cloud: Cloud,
  identity: Identity,
  service: string,
  { path = '/', headers = {}, body }: { path?: string; headers?: Record<string, string>; body: string },
): Promise<Response> {
  const { host, hostname, port } = new URL(cloud.endpoint);
  const signer = new SignatureV4({
    service,
    region: REGION,
    credentials: identity.credentials,
    sha256: Sha256,
  });
  const signed = await signer.sign({
    method: 'POST',
    protocol: 'http:',
    hostname,
    port: Number(port),
    path,
    headers: { host, ...headers },
    body,
  });
  const { host: _, ...sent } = signed.headers;
  return fetch(`${cloud.endpoint}${path}`, { method: 'POST', headers: sent, body });
}

/** Waits for something that happens in the background. */
export const until = <T>(look: Parameters<typeof untilSo<T>>[1]): Promise<T> => untilSo(String(look), look);
