import path from 'node:path';
import { DynamoDBDocumentClient, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { expect, test } from '@jest/globals';
import type { APIGatewayProxyEvent, Context } from 'aws-lambda';
import { CertificateAuthority, type Cloud, type FaultKind, type Handler, VirtualClock } from 'local-cloud';
import { resolveTemplate } from 'local-cloud/templates';
import { createCloud } from '../../local/cloud.ts';
import { ComposedFunctions, type FunctionName } from '../../local/composed-functions.ts';
import { ScriptedNode } from '../../local/scripted-node.ts';

// The shipped state machine, functions, rules and schedules in virtual time. In each run one call of a function or of
// the state machine meets one fault; whichever it is, the promise holds some hours later.

/** FAULTS=all tries every fault at every call; by default each call meets one kind, another one in each flow. */
const EVERY_KIND = process.env.FAULTS === 'all';
const CENTRAL = '111122223333';
const MEMBER = '444455556666';
const REGION = 'eu-central-1';
const SECONDS = 1000;
const HOURS = 3600 * SECONDS;

type Kind = Exclude<FaultKind, 'refuse' | 'delay' | 'crash-before-effect' | 'crash-after-effect'> | 'denied';
const KINDS: Kind[] = ['throttle', 'server-error', 'timeout', 'answer-lost', 'denied'];

const stackOf = (file: string, account: string, parameters: Record<string, string>) =>
  resolveTemplate(path.resolve(import.meta.dirname, '../..', file), {
    account,
    region: REGION,
    stackName: `acm-export-${account}`,
    parameters: { ExternalId: 'only-for-these-tests', ...parameters },
  });
const central = stackOf('template.yaml', CENTRAL, { TargetAccounts: `${CENTRAL},${MEMBER}` });
const member = stackOf('member-account.yaml', MEMBER, {
  CentralAccountId: CENTRAL,
  CentralRegion: REGION,
  TargetTagKey1: 'acm-export',
});
const authority = CertificateAuthority.create(new Date('2026-11-24T00:00:00Z'));

/** A whole system that lives by itself. */
class World {
  readonly clock = new VirtualClock();
  readonly nodes: ScriptedNode[] = [];
  cloud!: Cloud;
  certificateArn = '';
  id = '';
  #table!: DynamoDBDocumentClient;

  static async create(): Promise<World> {
    const world = new World();
    const { clock } = world;
    const functions = () => new ComposedFunctions(world.cloud, central);
    const handlerOf =
      (name: string): Handler =>
      (event, context) => {
        const handler = functions().compose(name as FunctionName, {
          now: clock.now,
          sleep: (milliseconds) => clock.sleep(milliseconds),
          random: () => 0.5,
        });
        return (handler as Handler)(event, context);
      };
    world.cloud = await createCloud({ clock, authority: await authority, quotas: false, handlerOf });
    await world.cloud.deploy(central);
    await world.cloud.deploy(member);
    world.cloud.services.acm.automaticRenewal = false;
    const { credentials } = world.cloud.createUser(CENTRAL, 'administrator', [
      { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
    ]);
    world.#table = world.cloud.documentClient(DynamoDBDocumentClient, { region: REGION, credentials });
    world.certificateArn = await world.cloud.services.acm.add(CENTRAL, REGION, {
      names: ['www.example.com'],
      keyAlgorithm: 'EC_prime256v1',
      tags: { CertName: '+' },
    });
    await world.addNode();
    return world;
  }

  async addNode(): Promise<void> {
    const id = `i-${String(this.nodes.length + 1).padStart(8, '0')}`;
    const place = { account: MEMBER, region: REGION };
    const install = () => this.clock.sleep(20 * SECONDS);
    this.nodes.push(await ScriptedNode.create(this.cloud, place, id, {}, install));
  }

  /** A request to the API by a client that repeats what was answered with a 5xx, as SDKs and scripts do. */
  async api(httpMethod: string, route: string, body: object | null = null): Promise<void> {
    const resource = `/certificates/{CertName}/deployments${route}`;
    const handler = new ComposedFunctions(this.cloud, central).compose('deployments-api', {
      now: this.clock.now,
      sleep: (milliseconds) => this.clock.sleep(milliseconds),
      random: () => 0.5,
    });
    const event = {
      httpMethod,
      resource,
      pathParameters: { CertName: 'web', ...(route ? { DeploymentId: this.id } : {}) },
      body: body && JSON.stringify(body),
      requestContext: { requestId: `request-${this.clock.now().getTime()}` },
    } as unknown as APIGatewayProxyEvent;
    for (let attempt = 1; ; attempt += 1) {
      const context = {
        awsRequestId: `lambda-${attempt}`,
        getRemainingTimeInMillis: () => 29_000,
      } as Context;
      const answer = await handler(event, context).catch((error: Error) => error);
      // 422 is what a target that refuses the call once is answered with; a person tries again.
      if (!(answer instanceof Error) && ![422, 429].includes(answer.statusCode)) {
        if (answer.statusCode === 404 && httpMethod === 'DELETE' && attempt > 1) return;
        if (answer.statusCode >= 400) throw new Error(`${httpMethod} ${route}: ${answer.body}`);
        this.id = JSON.parse(answer.body).DeploymentId ?? this.id;
        return;
      }
      if (attempt === 4)
        throw new Error(`${httpMethod} ${route} failed four times: ${JSON.stringify(answer)}`);
      await this.clock.sleep(30 * SECONDS);
    }
  }

  register(body: object = {}): Promise<void> {
    return this.api('POST', '', {
      CertificateArn: this.certificateArn,
      TargetTagKey: 'acm-export',
      TargetTagValue: 'web',
      TargetAccount: MEMBER,
      ...body,
    });
  }

  serial(): string {
    const { versions } = this.cloud.services.acm.certificate(this.certificateArn);
    return versions.at(-1)?.serial.replaceAll(':', '') ?? '';
  }

  bundles() {
    return this.cloud.services.secretsManager.secrets(MEMBER, REGION);
  }

  /** The deployment as GET shows it; undefined when there is none. */
  async deployment(): Promise<Record<string, unknown> | undefined> {
    const TableName = central.resources.get('InventoryTable')?.physicalId;
    const { Items = [] } = await this.#table.send(new ScanCommand({ TableName }));
    return Items.find(({ Item, CertName }) => Item === 'deployment' && CertName !== undefined);
  }

  /** Every node serves the current version, the inventory says so, nothing runs any more, nothing was done twice. */
  async expectServed(): Promise<void> {
    const found = await this.deployment();
    expect(found).toMatchObject({ Status: 'INSTALLED', Serial: this.serial() });
    expect([found?.Running, found?.Rollout]).toEqual([undefined, undefined]);
    expect(this.nodes.map(({ installed }) => installed?.Serial)).toEqual(this.nodes.map(() => this.serial()));
    expect(this.bundles().map(({ deletionDate }) => deletionDate)).toEqual([undefined]);
    this.expectRest();
  }

  expectRest(): void {
    const { stepFunctions, automation } = this.cloud.services;
    expect(stepFunctions.executions().filter(({ status }) => status === 'RUNNING')).toEqual([]);
    const automations = automation.executions(MEMBER, REGION);
    expect(automations.filter(({ endedAt }) => endedAt === undefined)).toEqual([]);
    // No two installations of the deployment at a time.
    for (const one of automations) {
      const during = automations.filter(
        (other) =>
          other !== one &&
          other.startedAt >= one.startedAt &&
          (one.endedAt === undefined || other.startedAt < one.endedAt),
      );
      expect(during.map(({ id }) => id)).toEqual([]);
    }
    expect(this.cloud.failures).toEqual([]);
  }

  /** Whether people were told of every execution that failed: of one that was to heal, by what the look had found. */
  expectTold(): void {
    const failed = this.cloud.services.stepFunctions.executions().filter(({ status }) => status === 'FAILED');
    const told = this.cloud.services.sns.messages.map(({ message }) => message).join('\n');
    for (const { arn, name } of failed) {
      if (!name.endsWith('-try') && !told.includes('A look at the servers found'))
        expect(told).toContain(arn);
    }
  }
}

interface Flow {
  /** What is there before, without faults. */
  before?: (world: World) => Promise<void>;
  does: (world: World) => Promise<void>;
  /** Until when everything is well again; first attempts come after 15 minutes, sweeps of certificates hourly. */
  hours: number;
  promise: (world: World) => Promise<void>;
}

const installed = async (world: World) => {
  await world.register();
  await world.clock.sleep(10 * 60 * SECONDS);
};

/** The next look, and the next comparison of certificates, are due soon. */
const untilTheHour = async (world: World) => {
  await installed(world);
  await world.clock.sleep(45 * 60 * SECONDS);
};

const FLOWS: Record<string, Flow> = {
  'a deployment is registered': {
    does: (world) => world.register(),
    hours: 4,
    promise: (world) => world.expectServed(),
  },
  'ACM renews the certificate': {
    before: installed,
    does: (world) => world.cloud.services.acm.renew(world.certificateArn),
    hours: 4,
    promise: (world) => world.expectServed(),
  },
  'ACM renews the certificate and its event is lost': {
    before: untilTheHour,
    does: async (world) => {
      world.cloud.services.events.lose(({ source }) => source === 'aws.acm');
      await world.cloud.services.acm.renew(world.certificateArn);
      await world.clock.sleep(20 * 60 * SECONDS);
    },
    hours: 4,
    promise: (world) => world.expectServed(),
  },
  'a node appears': {
    before: installed,
    does: async (world) => {
      await world.addNode();
      await world.clock.sleep(6 * 60 * SECONDS);
    },
    hours: 4,
    promise: (world) => world.expectServed(),
  },
  'the deployment is tried': {
    before: installed,
    does: (world) => world.register({ VerifyPort: 8443, DryRun: true }),
    hours: 4,
    promise: (world) => world.expectServed(),
  },
  'a look finds a damaged node': {
    before: untilTheHour,
    does: async (world) => {
      world.nodes[0]?.drift.set('web', 'damaged');
      await world.clock.sleep(20 * 60 * SECONDS);
    },
    hours: 4,
    promise: async (world) => {
      expect(world.nodes[0]?.drift.size).toBe(0);
      await world.expectServed();
    },
  },
  'the deployment is deleted': {
    before: installed,
    does: (world) => world.api('DELETE', '/{DeploymentId}'),
    hours: 2,
    promise: async (world) => {
      expect(await world.deployment()).toBeUndefined();
      expect(world.bundles().every(({ deletionDate }) => deletionDate)).toBe(true);
      world.expectRest();
    },
  },
  'the deployment is deleted while it is rolled out, and registered again': {
    does: async (world) => {
      await world.register();
      await world.clock.sleep(30 * SECONDS);
      await world.api('DELETE', '/{DeploymentId}');
      await world.register();
    },
    hours: 4,
    promise: async (world) => {
      const found = await world.deployment();
      expect(found).toMatchObject({ Status: 'INSTALLED', Serial: world.serial() });
      expect(world.bundles().map(({ deletionDate }) => deletionDate)).toEqual([undefined]);
    },
  },
};

/** Of the functions and of the state machine: what they ask of AWS, and what calls them. */
const isOurs = ({ source }: { source: string }) => /^(function|state machine) /.test(source);

/** Plays a flow in which the nth call meets a fault. Resolves to what is wrong then, and the call. */
async function play(
  flow: Flow,
  fault?: { call: number; kind: Kind },
): Promise<{ calls: number; wrong?: string }> {
  const world = await World.create();
  const { clock, cloud } = world;
  let calls = 0;
  let met = '';
  try {
    await clock.run(
      () => 0.5,
      async () => {
        await flow.before?.(world);
        for (const operation of fault ? ['*'] : []) {
          cloud.faults.inject({
            operation,
            ...(fault?.kind === 'denied'
              ? {
                  kind: 'refuse',
                  error: { name: 'AccessDeniedException', message: 'denied once', status: 403 },
                }
              : { kind: fault?.kind as FaultKind }),
            when: (call) => {
              if (!isOurs(call)) return false;
              calls += 1;
              if (calls !== fault?.call) return false;
              met = `${fault.kind} at call ${calls}, ${call.operation} by ${call.source}`;
              return true;
            },
          });
        }
        const before = cloud.record.calls.length;
        await flow.does(world);
        await clock.sleep(10 * 60 * SECONDS);
        if (!fault) calls = cloud.record.calls.slice(before).filter(isOurs).length;
        await clock.sleep(flow.hours * HOURS);
      },
    );
    await flow.promise(world);
    if (fault && met === '') return { calls, wrong: `no call ${fault.call}` };
    world.expectTold();
    return { calls };
  } catch (error) {
    return { calls, wrong: `${met}: ${(error as Error).message}` };
  } finally {
    await cloud.stop().catch(() => {});
  }
}

test.each(Object.entries(FLOWS))(
  '%s: one fault, whichever and wherever, is made up for',
  async (name, flow) => {
    const { calls, wrong } = await play(flow);
    expect([name, wrong]).toEqual([name, undefined]);
    expect(calls).toBeGreaterThan(8);
    const shift = Object.keys(FLOWS).indexOf(name);
    const faults = Array.from({ length: calls }, (_, index) => index + 1).flatMap((call) =>
      (EVERY_KIND ? KINDS : [KINDS[(call + shift) % KINDS.length] as Kind]).map((kind) => ({ call, kind })),
    );
    const found: string[] = [];
    for (const fault of faults) {
      const { wrong } = await play(flow, fault);
      if (wrong) found.push(wrong);
    }
    process.stderr.write(`${name}: ${calls} calls, ${faults.length} faults\n`);
    expect(found).toEqual([]);
  },
);
