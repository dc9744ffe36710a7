import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll } from '@jest/globals';
import type { CloudNode, Handler } from 'local-cloud';
import { startCloud } from '../../local/cloud.ts';
import { ComposedFunctions } from '../../local/composed-functions.ts';
import { CENTRAL, deployFleet, type Fleet } from '../../local/example-fleet.ts';

interface TestFleetOptions extends NonNullable<Parameters<typeof deployFleet>[1]> {
  /** Functions run in this process, composed, not in threads that load what was built. */
  composed?: boolean;
}

/** The deployed system in a local cloud, for the tests of one file; waits take `timeScale` of their time. */
export function testFleet(
  { composed = false, ...options }: TestFleetOptions = {},
  timeScale = 0.005,
): () => Fleet {
  let fleet: Fleet;
  let functions: ComposedFunctions | undefined;
  const handlerOf =
    (name: string): Handler =>
    (event, context) => {
      const { clock } = fleet.cloud;
      functions ??= new ComposedFunctions(fleet.cloud, fleet.central.deployed);
      const own = { now: () => clock.now(), sleep: (ms: number) => clock.sleep(ms), random: Math.random };
      return functions.invoke(name, own, event, context);
    };
  beforeAll(async () => {
    const cloud = { timeScale, quotas: false, environments: 1, delays: true as const };
    fleet = await deployFleet(await startCloud(composed ? { ...cloud, handlerOf } : cloud), options);
  });
  afterAll(async () => {
    await Promise.all(fleet.nodes.map(({ server }) => server.stop()));
    await fleet.cloud.stop();
  });
  return () => fleet;
}

/** A node without a server: only its files matter. */
export function plainNode(
  fleet: Fleet,
  tag: string,
  options: Parameters<Fleet['cloud']['createNode']>[2] & { account?: string; region?: string } = {},
): Promise<CloudNode> {
  const { account = CENTRAL.account, region = CENTRAL.region, ...nodeOptions } = options;
  return fleet.cloud.createNode(account, region, { tags: { 'acm-export': tag }, ...nodeOptions });
}

/** One API call as the operator, whatever the answer is. */
export async function call(fleet: Fleet, method: string, path: string, body?: unknown) {
  const response = await fleet.cloud.fetchSigned(
    fleet.operator,
    CENTRAL.region,
    `${fleet.central.apiUrl}${path}`,
    {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    },
  );
  // biome-ignore lint/suspicious/noExplicitAny: each test knows the answer that it asks for
  return { status: response.status, body: (await response.json()) as any };
}

export const order = (CertificateArn: string, TargetTagValue: string, more: object = {}) => ({
  CertificateArn,
  TargetTagKey: 'acm-export',
  TargetTagValue,
  ...more,
});

/** POSTs a deployment, waits until everything has come to rest, and gives what the inventory says then. */
export async function deploy(fleet: Fleet, certName: string, body: object) {
  // The servers, roles and tags that a test made a moment ago stand for such as have been there for long.
  fleet.cloud.settle();
  const started = await call(fleet, 'POST', `/certificates/${certName}/deployments`, body);
  if (started.status !== 202) {
    throw new Error(`POST was answered with ${started.status} ${JSON.stringify(started.body)}`);
  }
  await fleet.cloud.idle();
  return {
    started: started.body,
    deployment: await deploymentOf(fleet, certName, started.body.DeploymentId),
  };
}

/** Moves the clock by each of these minutes, and lets what begins then end. A sweep over nodes comes each five minutes. */
export async function pass(fleet: Fleet, ...minutes: number[]): Promise<void> {
  for (const step of minutes) {
    fleet.cloud.clock.advance(step * 60_000);
    await fleet.cloud.idle();
  }
}

/** An hour, in which a look is due and sent, and ten minutes: the next sweep reads it, and the one after tells of it. */
export const LOOK = [60, 5, 5];

export async function deploymentOf(fleet: Fleet, certName: string, id: string) {
  return (await call(fleet, 'GET', `/certificates/${certName}/deployments/${id}`)).body;
}

/** Files of an installed certificate on a node. */
export function installed(node: CloudNode, certName: string) {
  const file = (name: string) => join(node.spec.root, 'etc/ssl', name);
  const key = file(`private/${certName}-privkey.pem`);
  const fullchain = file(`certs/${certName}-fullchain.pem`);
  return {
    exists: existsSync(fullchain),
    keyMode: () => statSync(key).mode & 0o777,
    key: () => readFileSync(key, 'utf8'),
    fullchain: () => readFileSync(fullchain, 'utf8'),
    certificates: () => readFileSync(fullchain, 'utf8').match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0,
  };
}
