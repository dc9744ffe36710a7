// Every certificate of a large fleet is renewed at once: the shipped state machine and functions, in a local cloud in
// virtual time, with quotas, with calls that fail and with events that come twice.
import { type Count, quotas, serverError, throttled } from 'local-cloud';
import type { Deployment } from '../functions/domain/deployment.ts';
import { inParallel } from '../functions/runtime/in-parallel.ts';
import { addNodes, currentOf, type FleetPlan, fillInventory, planFleet, storeBundles } from './fleet.ts';
import { apiName, type Table } from './report.ts';
import { REGION, renewalEvent, seeded, virtualWorld } from './world.ts';

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

/** Two nodes, one after the other: the canary, then the rest. */
const NODE_SECONDS = 30;
const INSTALL_SECONDS = 2 * NODE_SECONDS;
/** Of the calls of functions and state machines: half of these fail before they take effect, half after. */
const FAULT_SHARE = 0.01;
/** Automations that run at once in an account and Region (AWS General Reference). A further one waits. */
const RUNNING_AT_ONCE = 100;
/** ACM renews certificates one after the other; nothing says how fast. */
const EVENTS_WITHIN_SECONDS = 60;
/** EventBridge delivers at least once: one event in ten comes again, half a minute later. */
const DELIVERED_TWICE = 10;
const AGAIN_AFTER_SECONDS = 30;

/** What each rollout asks at least once, if its bundle is there and all goes well. */
const ASKED_BY_EACH = [
  'CertificateManager.DescribeCertificate',
  'CertificateManager.ListTagsForCertificate',
  'CertificateManager.ExportCertificate',
  'AmazonSSM.DescribeInstanceInformation',
  'AmazonSSM.StartAutomationExecution',
  'AmazonSSM.GetAutomationExecution',
  'AWSStepFunctions.StartExecution',
  'secretsmanager.GetRandomPassword',
  'secretsmanager.PutResourcePolicy',
  'secretsmanager.PutSecretValue',
];

interface Outcome {
  counts: Map<string, Count>;
  /** Deployments that do not serve the new serial, or whose inventory does not say so. */
  lost: number;
  /** Deployments with more than one execution or Automation. */
  doubled: number;
  /** Executions that failed. */
  failed: number;
  /** From the first event until the last installation ended. */
  seconds: number;
}

async function renewFleet(plan: FleetPlan): Promise<Outcome> {
  const random = seeded(plan.certificates);
  const world = await virtualWorld(random);
  const { cloud, clock } = world;
  const { acm, events, stepFunctions, automation } = cloud.services;
  const fleet = await planFleet(world, plan);
  const nodes = await addNodes(world, fleet, () => clock.sleep(NODE_SECONDS * 1000));
  cloud.setQuotas(false);
  await world.run(async () => {
    await fillInventory(world, fleet);
    await storeBundles(world, fleet);
  });
  cloud.setQuotas(true);
  await Promise.all(fleet.certificateArns.map((arn) => acm.renew(arn)));
  cloud.record.clear();
  cloud.faults.share(FAULT_SHARE, random, ({ source }) => /^(function|state machine) /.test(source));

  const start = clock.elapsed();
  const deliver = async (arn: string, index: number, afterSeconds: number): Promise<void> => {
    const event = renewalEvent(arn, `event-${index}`, clock.now());
    await clock.sleep(afterSeconds * 1000);
    events.deliver(event);
  };
  await world.run(() =>
    Promise.all(
      fleet.certificateArns.flatMap((arn, index) => {
        const after = (index / plan.certificates) * EVENTS_WITHIN_SECONDS;
        const again = index % DELIVERED_TWICE === 0 ? [deliver(arn, index, after + AGAIN_AFTER_SECONDS)] : [];
        return [deliver(arn, index, after), ...again];
      }),
    ),
  );

  const counts = new Map(cloud.record.counts);
  const executions = stepFunctions
    .executions()
    // Not those of certificates that were issued.
    .filter(({ arn }) => arn.includes(':acm-export-certificate-rollout:'));
  const automations = [...fleet.nodes.keys()].flatMap((account) => automation.executions(account, REGION));
  const started = [
    ...Map.groupBy(executions, ({ name }) => name.slice(0, 24)).values(),
    ...Map.groupBy(automations, ({ parameters }) => parameters.DeploymentId?.[0]).values(),
  ];
  let lost = 0;
  await world.run(() =>
    inParallel(fleet.deployments, 64, async (deployment) => {
      const { DeploymentId, CertificateArn, TargetAccount, TargetTagValue } = deployment;
      const { serial } = currentOf(cloud, CertificateArn);
      const now: Deployment | undefined = await world.inventory.get(DeploymentId);
      const ids = fleet.nodes.get(TargetAccount)?.get(TargetTagValue) ?? [];
      const isRenewed =
        now?.Status === 'INSTALLED' &&
        now.Serial === serial &&
        ids.every((id) => nodes.get(id)?.installed?.Serial === serial);
      lost += isRenewed ? 0 : 1;
    }),
  );
  await cloud.stop();
  const lastEnd = Math.max(
    ...automations.map(({ endedAt }) => endedAt?.getTime() ?? Number.POSITIVE_INFINITY),
  );
  return {
    counts,
    lost,
    doubled: started.filter((all) => all.length > 1).length,
    failed: executions.filter(({ status }) => status !== 'SUCCEEDED').length,
    seconds: (lastEnd - start) / 1000,
  };
}

/**
 * Seconds before which the last install cannot have ended, however cleverly the calls are spread: each rollout needs
 * one answer of each API, the API answers no faster than its quota, no more than 100 installs run in an account, and
 * after all that the last rollout still has its own install before it.
 */
function floorOf(plan: FleetPlan): { seconds: number; byApi: Map<string, number> } {
  const perAccount = plan.deployments / plan.accounts;
  const byApi = new Map(
    ASKED_BY_EACH.map((api) => {
      const { perSecond, burst = perSecond } = quotas[api] ?? { perSecond: Number.NaN };
      const isCentral = /^(CertificateManager|AWSStepFunctions)\./.test(api);
      return [api, ((isCentral ? plan.deployments : perAccount) - burst) / perSecond];
    }),
  );
  const rounds = Math.ceil(perAccount / RUNNING_AT_ONCE) - 1;
  return { seconds: Math.max(...byApi.values(), rounds * INSTALL_SECONDS) + INSTALL_SECONDS, byApi };
}

/** How many calls were refused because of the quota, and how many failed for no reason. */
function faultsOf(api: string, { refused }: Count): { tooFast: number; failed: number } {
  const {
    [throttled(api).name]: tooFast = 0,
    [serverError(api).name]: before = 0,
    NoAnswer: after = 0,
  } = refused;
  return { tooFast, failed: before + after };
}

/** Calls for each that was answered; an answer such as "not found" is one, too. */
function perSuccess(api: string, count: Count): number {
  const { tooFast, failed } = faultsOf(api, count);
  return count.calls / (count.calls - tooFast - failed);
}

export async function measureFleetRenewal(): Promise<Table[]> {
  const tables: Table[] = [];
  const rows: string[][] = [];
  for (const [name, plan] of Object.entries(PLANS)) {
    const outcome = await renewFleet(plan);
    const { seconds, byApi } = floorOf(plan);
    const asked = [...byApi].map(([api, floor]) => {
      const count = outcome.counts.get(api);
      if (!count) throw new Error(`${api} was never called.`);
      return { api, floor, count };
    });
    rows.push([
      name,
      String(plan.deployments),
      String(outcome.lost),
      String(outcome.doubled),
      String(outcome.failed),
      (outcome.seconds / seconds).toFixed(2),
      Math.max(...asked.map(({ api, count }) => perSuccess(api, count))).toFixed(2),
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
      rows: asked.map(({ api, floor, count }) => {
        const { tooFast, failed } = faultsOf(api, count);
        return [
          apiName(api),
          perSuccess(api, count).toFixed(2),
          (count.calls / plan.deployments).toFixed(2),
          String(count.calls),
          String(tooFast),
          String(failed),
          floor.toFixed(0),
        ];
      }),
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
