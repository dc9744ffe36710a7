// Every certificate of a large fleet is renewed at once. The definition of the state machine and the code of the
// functions are those that are shipped; time, quotas and what AWS does behind its APIs are modelled.
import '../tests/functions/support/quiet.ts';
import { ACMClient } from '@aws-sdk/client-acm';
import type { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { DescribeExecutionCommand, SFNClient } from '@aws-sdk/client-sfn';
import { SSMClient } from '@aws-sdk/client-ssm';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { StateMachine } from 'aws-local-stepfunctions';
import { checkInstallation } from '../functions/check-installation/check-installation.ts';
import { exportCertificate } from '../functions/export-certificate/export-certificate.ts';
import { handleRenewal, startRenewal } from '../functions/handle-renewal/handle-renewal.ts';
import { startRetries } from '../functions/handle-renewal/start-retries.ts';
import { ONE_ATTEMPT, PATIENT } from '../functions/shared/clients.ts';
import { type Deployment, secretNameOf } from '../functions/shared/deployment.ts';
import { Inventory } from '../functions/shared/inventory.ts';
import { startInstallation } from '../functions/start-installation/start-installation.ts';
import { FakeAcm } from '../tests/functions/support/fake-acm.ts';
import { FakeStepFunctions } from '../tests/functions/support/fake-step-functions.ts';
import { FakeSecretsManager, FakeSsm } from '../tests/functions/support/fake-target.ts';
import { Apis, awsError, type Count, QUOTAS, SDK_ATTEMPTS, seeded } from './model/apis.ts';
import {
  CENTRAL,
  type Fleet,
  type FleetPlan,
  healthyFleet,
  propertiesOf,
  REGION,
  STATE_MACHINE_ARN,
  tableOf,
} from './model/fleet.ts';
import { VirtualTime } from './model/virtual-time.ts';
import type { Table } from './report.ts';

const PLANS: Record<string, FleetPlan> = {
  '200 certificates, 20 accounts': {
    deployments: 10_000,
    certificates: 200,
    accounts: 20,
    tagsPerAccount: 500,
    nodesPerDeployment: 2,
  },
  '1 certificate, 20 accounts': {
    deployments: 10_000,
    certificates: 1,
    accounts: 20,
    tagsPerAccount: 500,
    nodesPerDeployment: 2,
  },
  '200 certificates, 1 account': {
    deployments: 2000,
    certificates: 200,
    accounts: 1,
    tagsPerAccount: 2000,
    nodesPerDeployment: 2,
  },
};

const INSTALL_SECONDS = 60;
const LATENCY_MS = 20;
/** One call in a hundred fails: half of these before they take effect, half after. */
const FAULT_SHARE = 0.01;
/** Automations that run at once in an account and Region (AWS General Reference). A further one is refused. */
const RUNNING_AT_ONCE = 100;
/** ACM renews certificates one after the other; nothing says how fast. */
const EVENTS_WITHIN_SECONDS = 60;
/** EventBridge delivers at least once: one event in ten comes again, half a minute later. */
const DELIVERED_TWICE = 10;
const AGAIN_AFTER_SECONDS = 30;
/** Lambda's own retries of an event: after one and two minutes. */
const EVENT_RETRIES_SECONDS = [60, 120];

/** A member account: Automations take their time, and no more than 100 run. */
class Target {
  readonly secretsManager = new FakeSecretsManager();
  readonly ssm: FakeSsm;
  lastInstallAt = 0;

  constructor(time: VirtualTime) {
    const target = this;
    let running = 0;
    this.ssm = new (class extends FakeSsm {
      override StartAutomationExecution(input: Parameters<FakeSsm['StartAutomationExecution']>[0]) {
        if (running >= RUNNING_AT_ONCE) {
          throw awsError('AutomationExecutionLimitExceededException');
        }
        const before = this.automations.size;
        const started = super.StartAutomationExecution(input);
        if (this.automations.size > before) {
          running += 1;
          void time.sleep(INSTALL_SECONDS * 1000).then(() => {
            running -= 1;
            target.lastInstallAt = time.now;
            this.runAutomation(started.AutomationExecutionId);
          });
        }
        return started;
      }
    })(this.secretsManager);
  }
}

/** Step Functions that run the definition. */
class Rollouts extends FakeStepFunctions {
  readonly #machine: StateMachine;
  readonly #tasks: Record<string, (input: { Payload: never }) => Promise<object>>;

  constructor(definition: object, tasks: Record<string, (payload: never) => Promise<object>>) {
    super();
    this.#machine = new StateMachine(definition as never, { validationOptions: { checkArn: false } });
    this.#tasks = Object.fromEntries(
      Object.entries(tasks).map(([name, task]) => [
        name,
        async ({ Payload }) => ({ Payload: await task(Payload) }),
      ]),
    );
  }

  override StartExecution(input: Record<string, string>) {
    const before = this.executions.size;
    const started = super.StartExecution(input);
    if (this.executions.size > before) {
      void this.#run(started.executionArn, JSON.parse(input.input as string) as never);
    }
    return started;
  }

  async #run(arn: string, input: never): Promise<void> {
    const overrides = { taskResourceLocalHandlers: this.#tasks as never };
    const ended = this.#machine.run(input, { overrides }).result;
    this.end(
      arn,
      await ended.then(
        () => 'SUCCEEDED' as const,
        () => 'FAILED' as const,
      ),
    );
  }
}

interface Outcome {
  counts: Map<string, Count>;
  /** Deployments that do not serve the new serial, or whose inventory does not say so. */
  lost: number;
  /** Deployments with more than one execution or Automation. */
  doubled: number;
  /** Executions that failed. */
  failed: number;
  /** From the first event until the last node served its new version. */
  seconds: number;
}

async function renewFleet(plan: FleetPlan): Promise<Outcome> {
  const time = new VirtualTime();
  const random = seeded(plan.certificates);
  const apis = new Apis(time, { latencyMs: LATENCY_MS, faultShare: FAULT_SHARE, random });
  const acm = new FakeAcm();
  const table = tableOf('InventoryTable');
  const fleet = await healthyFleet(plan, table, acm);
  const targets = memberAccounts(fleet, time);
  for (const arn of fleet.certificateArns) {
    await acm.renew(arn);
  }
  const once = ONE_ATTEMPT.maxAttempts;
  const acmClient = (attempts: number) =>
    apis.client<ACMClient>('acm', acm, CENTRAL, attempts, ACMClient.prototype);
  const dynamodb = apis.client<DynamoDBDocumentClient>('dynamodb', table, CENTRAL, SDK_ATTEMPTS);
  const rollouts = new Rollouts(propertiesOf('CertificateRolloutStateMachine').Definition, {
    ExportCertificate: (input) => exportCertificate(input, deps),
    StartInstallation: (input) => startInstallation(input, deps),
    CheckInstallation: (input) => checkInstallation(input, deps),
  });
  const deps = {
    inventory: new Inventory(dynamodb, 'inventory', time.date),
    sfn: new SFNClient({ ...apis.clientConfig('states', rollouts, CENTRAL), ...startRetries(random) }),
    stateMachineArn: STATE_MACHINE_ARN,
    acm: acmClient(once),
    now: time.date,
    random,
    prefix: 'acm-export',
    partition: 'aws',
    account: CENTRAL,
    region: REGION,
    timeoutMinutes: 120,
    requireCertificateTag: true,
    rolloutsEnabled: true,
    connectTarget: async ({ TargetAccount: place }: { TargetAccount: string }) => {
      const { ssm, secretsManager } = targets.get(place) as Target;
      return {
        ssm: apis.client<SSMClient>('ssm', ssm, place, once, SSMClient.prototype),
        secretsManager: apis.client<SecretsManagerClient>('secretsmanager', secretsManager, place, once),
        // Only deployments that are delivered by secret announce their bundles, and there is none here.
        events: apis.client<EventBridgeClient>('events', {}, place, once),
      };
    },
  };
  const renewalDeps = {
    ...deps,
    acm: acmClient(PATIENT.maxAttempts),
    onceForSerial: (renewal: Parameters<typeof startRenewal>[0]) => startRenewal(renewal, deps),
  };

  /** As EventBridge and Lambda do. */
  const deliver = async (arn: string, index: number, afterSeconds: number): Promise<void> => {
    await time.sleep(afterSeconds * 1000);
    const event = {
      source: 'aws.acm',
      'detail-type': 'ACM Certificate Available',
      id: `event-${index}`,
      time: new Date(time.now - afterSeconds * 1000).toISOString(),
      resources: [arn],
      detail: { Action: 'RENEWAL' },
    };
    for (const pause of [...EVENT_RETRIES_SECONDS, 0]) {
      try {
        await handleRenewal(event, renewalDeps);
        return;
      } catch {
        await time.sleep(pause * 1000);
      }
    }
  };

  await apis.warmUp(() => deps.sfn.send(new DescribeExecutionCommand({ executionArn: 'none' })));
  const start = time.now;
  await time.run(random, async () => {
    await Promise.all(
      fleet.certificateArns.flatMap((arn, index) => {
        const after = (index / plan.certificates) * EVENTS_WITHIN_SECONDS;
        const again = index % DELIVERED_TWICE === 0 ? [deliver(arn, index, after + AGAIN_AFTER_SECONDS)] : [];
        return [deliver(arn, index, after), ...again];
      }),
    );
    while (rollouts.running().length > 0) {
      await time.sleep(60_000);
    }
  });

  const accounts = [...targets.values()];
  const automations = accounts.flatMap(({ ssm }) => [...ssm.automations.values()]);
  const started = [
    ...Map.groupBy(rollouts.executions.values(), ({ name }) => name.slice(0, 24)).values(),
    ...Map.groupBy(automations, ({ parameters }) => parameters.DeploymentId).values(),
  ];
  const isRenewed = ({ DeploymentId, CertificateArn, TargetAccount, TargetTagValue }: Deployment) => {
    const serial = acm.serialOf(CertificateArn);
    const { Item } = table.GetItem({ Key: { DeploymentId, Item: 'deployment' } });
    const nodes = targets
      .get(TargetAccount)
      ?.ssm.nodes.filter(({ tags }) => tags['acm-export'] === TargetTagValue);
    return (
      Item?.Status === 'INSTALLED' &&
      Item.Serial === serial &&
      nodes?.every(({ installed }) => installed?.Serial === serial)
    );
  };
  return {
    counts: apis.counts,
    lost: fleet.deployments.filter((deployment) => !isRenewed(deployment)).length,
    doubled: started.filter((all) => all.length > 1).length,
    failed: [...rollouts.executions.values()].filter(({ status }) => status === 'FAILED').length,
    seconds: (Math.max(...accounts.map(({ lastInstallAt }) => lastInstallAt)) - start) / 1000,
  };
}

/** The accounts with their nodes, and the bundles of the version before. */
function memberAccounts(fleet: Fleet, time: VirtualTime): Map<string, Target> {
  const targets = new Map<string, Target>();
  for (const [account, tags] of fleet.nodes) {
    const target = new Target(time);
    targets.set(account, target);
    for (const [tag, ids] of tags) {
      for (const id of ids) {
        target.ssm.addNode(id, { tags: { 'acm-export': tag } });
      }
    }
  }
  for (const deployment of fleet.deployments) {
    const { secretsManager } = targets.get(deployment.TargetAccount) as Target;
    const { ARN } = secretsManager.CreateSecret({ Name: secretNameOf('acm-export', deployment) });
    const ClientRequestToken = deployment.VersionId as string;
    secretsManager.PutSecretValue({ SecretId: ARN, ClientRequestToken, SecretString: 'the version before' });
  }
  return targets;
}

/**
 * Seconds before which the last install cannot have ended, however cleverly the calls are spread: each rollout needs
 * one answer of each API, the API answers no faster than its quota, no more than 100 installs run in an account, and
 * after all that the last rollout still has its own install before it.
 */
function floorOf(plan: FleetPlan): { seconds: number; byApi: Map<string, number> } {
  const perAccount = plan.deployments / plan.accounts;
  const byApi = new Map(
    Object.entries(QUOTAS).map(([api, { perSecond, burst = perSecond }]) => {
      const isCentral = api.startsWith('acm:') || api.startsWith('states:');
      return [api, ((isCentral ? plan.deployments : perAccount) - burst) / perSecond];
    }),
  );
  // None of these is needed once the deployment has its bundle, or when all goes well.
  for (const api of ['secretsmanager:CreateSecret', 'states:DescribeExecution']) {
    byApi.delete(api);
  }
  const rounds = Math.ceil(perAccount / RUNNING_AT_ONCE) - 1;
  return { seconds: Math.max(...byApi.values(), rounds * INSTALL_SECONDS) + INSTALL_SECONDS, byApi };
}

export async function measureFleetRenewal(): Promise<Table[]> {
  const tables: Table[] = [];
  const rows: string[][] = [];
  for (const [name, plan] of Object.entries(PLANS)) {
    const outcome = await renewFleet(plan);
    const { seconds, byApi } = floorOf(plan);
    const throttled = [...outcome.counts].filter(([api]) => byApi.has(api));
    const perSuccess = ({ calls, answered }: Count) => calls / answered;
    rows.push([
      name,
      String(plan.deployments),
      String(outcome.lost),
      String(outcome.doubled),
      String(outcome.failed),
      (outcome.seconds / seconds).toFixed(2),
      Math.max(...throttled.map(([, count]) => perSuccess(count))).toFixed(2),
      seconds.toFixed(0),
      outcome.seconds.toFixed(0),
    ]);
    tables.push({
      title: `Calls to renew ${plan.deployments} deployments: ${name}`,
      columns: [
        'API with a quota',
        'calls per success',
        'calls per rollout',
        'calls',
        'refused',
        'failed',
        'floor, s',
      ],
      rows: throttled.map(([api, count]) => [
        api,
        perSuccess(count).toFixed(2),
        (count.calls / plan.deployments).toFixed(2),
        String(count.calls),
        String(count.throttled),
        String(count.faults),
        (byApi.get(api) as number).toFixed(0),
      ]),
    });
  }
  return [
    {
      title: 'Every certificate of a fleet renewed within a minute',
      columns: [
        'fleet',
        'deployments',
        'lost',
        'doubled',
        'failed',
        "time to the last install, ratio to the quotas' floor",
        'most calls per success',
        'floor, s',
        'last install, s',
      ],
      rows,
    },
    ...tables,
  ];
}
