import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { type Cloud, type Handler, type Identity, VirtualClock } from 'local-cloud';
import { type Deployed, resolveTemplate } from 'local-cloud/templates';
import { Inventory } from '../functions/inventory/inventory.ts';
import {
  type CloudOptions,
  createCloud,
  deployMember as deployToMember,
  startCloud,
} from '../local/cloud.ts';
import { ComposedFunctions, type FunctionName } from '../local/composed-functions.ts';

export const CENTRAL = '111122223333';
export const REGION = 'eu-central-1';
/** Accounts with nodes: the most that a fleet has. */
export const MEMBERS = Array.from({ length: 20 }, (_, index) => String(200_000_000_000 + index));
/** How long a call takes, on average. */
export const LATENCY_MS = 20;

const AGREED = { ExternalId: 'only-for-measurements' };

/** The central stack in a local cloud. Nothing happens in it but what a measurement brings about. */
export interface World {
  cloud: Cloud;
  stack: Deployed;
  functions: ComposedFunctions;
  /** Of an administrator of the central account. */
  documents: DynamoDBDocumentClient;
  inventory: Inventory;
}

export interface VirtualWorld extends World {
  clock: VirtualClock;
  /** Moves the clock until work has come to its end, and all that it began. */
  run<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * A world in virtual time, where a call takes LATENCY_MS and the composed functions stand behind Lambda. Time passes only
 * while calls and pauses last, so that no figure depends on the machine.
 *
 * @param random 0 to below 1; decides all that is left to chance, but for ids and keys.
 */
export async function virtualWorld(
  random: () => number,
  options: Pick<CloudOptions, 'quotas' | 'holdsExecutions'> = {},
): Promise<VirtualWorld> {
  const clock = new VirtualClock();
  const handlers = new Map<string, Handler>();
  const handlerOf =
    (name: string): Handler =>
    (event, context) => {
      const functionClock = { now: clock.now, sleep: (ms: number) => clock.sleep(ms), random };
      const handler =
        handlers.get(name) ?? (world.functions.compose(name as FunctionName, functionClock) as Handler);
      handlers.set(name, handler);
      return handler(event, context);
    };
  const cloud = await createCloud({
    ...options,
    clock,
    keepsRecord: false,
    // Answers that come like clockwork would let those who start together stay together.
    latency: () => LATENCY_MS * (0.75 + random() / 2),
    handlerOf,
  });
  const world = await deployed(cloud);
  const run = <T>(work: () => Promise<T>) =>
    clock.run(random, async () => {
      const result = await work();
      await cloud.idle();
      return result;
    });
  return { ...world, clock, run };
}

/** A world behind HTTP, in real time. */
export async function realWorld(): Promise<World> {
  return deployed(await startCloud({ keepsRecord: false, holdsExecutions: true, latency: () => LATENCY_MS }));
}

/** The central stack as it would be deployed. */
export function centralStack(): Deployed {
  return resolveTemplate(`${import.meta.dirname}/../template.yaml`, {
    account: CENTRAL,
    region: REGION,
    stackName: 'acm-export',
    parameters: { ...AGREED, TargetAccounts: MEMBERS.join(',') },
  });
}

async function deployed(cloud: Cloud): Promise<World> {
  const stack = centralStack();
  await cloud.deploy(stack);
  const { events, acm } = cloud.services;
  // A sweep would repair what a measurement is to find.
  for (const schedule of events.schedules()) schedule.enabled = false;
  events.lose(({ source }) => source === 'aws.acm', Number.POSITIVE_INFINITY);
  acm.automaticRenewal = false;
  const { credentials } = administratorOf(cloud, CENTRAL);
  const documents = cloud.documentClient(DynamoDBDocumentClient, { region: REGION, credentials });
  const table = stack.resources.get('InventoryTable')?.physicalId ?? '';
  const inventory = new Inventory(documents, table, () => cloud.clock.now());
  return { cloud, stack, functions: new ComposedFunctions(cloud, stack), documents, inventory };
}

export async function deployMember(cloud: Cloud, account: string): Promise<void> {
  await deployToMember(cloud, {
    account,
    region: REGION,
    parameters: {
      ...AGREED,
      CentralAccountId: CENTRAL,
      CentralRegion: REGION,
      TargetTagKey1: 'acm-export',
    },
  });
}

export function administratorOf(cloud: Cloud, account: string): Identity {
  return cloud.createUser(account, 'administrator', [
    { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
  ]);
}

/** ACM's event of a renewal, as it lies on the bus. */
export function renewalEvent(arn: string, id: string, at: Date) {
  return {
    version: '0' as const,
    id,
    source: 'aws.acm',
    'detail-type': 'ACM Certificate Available',
    account: CENTRAL,
    region: REGION,
    time: at.toISOString(),
    resources: [arn],
    detail: { Action: 'RENEWAL' },
  };
}

/** Pseudo-random numbers, the same in each run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
