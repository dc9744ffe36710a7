import type { ACMClient } from '@aws-sdk/client-acm';
import * as z from 'zod';
import { describeDeployable } from '../certificates/describe-certificate.ts';
import { type Certificate, isCertificateOf } from '../domain/certificate.ts';
import { type Deployment, timestamp } from '../domain/deployment.ts';
import { CertificateNotDeployable, RetryLater } from '../domain/errors.ts';
import { type Noticed, wantedAfterRenewal } from '../domain/next.ts';
import { PATTERNS, whole } from '../domain/patterns.ts';
import { type AdvanceDeps, advance, decide, standstillOf } from '../rollouts/advance.ts';
import { type Ignored, ignore, readEvent } from '../runtime/event.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { logFields, logger } from '../runtime/observability.ts';

/** The fields that are read of ACM's event; the meaning of the others is not certain. */
const RenewalEvent = z.object({
  source: z.literal('aws.acm'),
  'detail-type': z.literal('ACM Certificate Available'),
  id: z.string().regex(whole(PATTERNS.CorrelationId), 'not the id of an event'),
  time: z.iso.datetime({ offset: true }),
  resources: z.array(z.string()).min(1),
  detail: z.object({ Action: z.literal('RENEWAL') }),
});

export type RenewalEvent = z.infer<typeof RenewalEvent>;

export interface HandleRenewalDeps extends AdvanceDeps {
  acm: ACMClient;
  account: string;
  region: string;
}

export interface Started {
  Started: number;
  Skipped: number;
}

export type RenewalOutcome = Started | Ignored;

/**
 * Deployments handled at once: 10,000 take about 60 calls of 20 ms in a row each way, and StartExecution gives
 * 300 a second after its burst.
 */
const AT_ONCE = 64;

/**
 * Starts the rollout of a renewed certificate for every place where it is deployed. ACM's event has no serial, so that
 * comes from ACM itself. Delivered again, the event does what is left.
 *
 * @throws RetryLater while ACM still shows the serial that every deployment has: Lambda calls again a minute later.
 * @throws the first failure of a deployment, when all have been tried.
 */
export async function handleRenewal(event: unknown, deps: HandleRenewalDeps): Promise<RenewalOutcome> {
  const read = readEvent(RenewalEvent, event, 'the event of a renewal');
  if (!read.data) {
    return ignore(read.fault, 'warn');
  }
  const arn = read.data.resources[0] as string;
  if (!isCertificateOf(arn, deps)) {
    const where = `account ${deps.account} in ${deps.region}`;
    return ignore(`${arn.slice(0, 200)} is not a certificate of ${where}`, 'warn');
  }
  logFields({ CertificateArn: arn, CorrelationId: read.data.id });
  const { items: some } = await deps.inventory.fleet.page({ CertificateArn: arn }, 1);
  if (some.length === 0) {
    return ignore(`${arn} is not deployed by this system`, 'debug');
  }
  const certificate = await describe(arn, deps);
  if (!certificate) {
    return ignore(`${arn} cannot be delivered any more`, 'warn');
  }
  const renewal: Noticed = {
    CertificateArn: arn,
    Serial: certificate.Serial,
    NotBefore: certificate.NotBefore,
    Cause: 'RENEWAL',
    CorrelationId: read.data.id,
  };
  await refuseEarly(renewal, read.data, deps);
  return startRenewal(renewal, deps);
}

/** A certificate that was deleted or revoked since is for report-certificate-notice and reconcile to tell people about. */
async function describe(arn: string, deps: HandleRenewalDeps): Promise<Certificate | undefined> {
  try {
    return await describeDeployable(deps.acm, arn);
  } catch (error) {
    if (error instanceof CertificateNotDeployable) {
      logger.warn('The renewed certificate cannot be delivered', {
        CertificateArn: arn,
        Reason: error.message,
      });
      return undefined;
    }
    throw error;
  }
}

/**
 * The event may come before ACM shows the new serial: then it is no news to any deployment, and nothing was done for it
 * since the event. (For an event that is delivered late, or again, something was.)
 *
 * @throws RetryLater
 */
async function refuseEarly(renewal: Noticed, event: RenewalEvent, deps: HandleRenewalDeps): Promise<void> {
  const eventTime = timestamp(new Date(event.time));
  let isActive = false;
  for await (const deployment of deps.inventory.fleet.all({ CertificateArn: renewal.CertificateArn })) {
    const { Wanted, Running, Observed, Status, PausedAt } = deployment;
    if (Status === 'DELETING' || !Wanted) {
      continue;
    }
    const done = [
      { Serial: Wanted.Serial, At: Wanted.At },
      { Serial: Running?.Serial, At: Running?.BeganAt ?? '' },
      { Serial: Observed?.Serial, At: Observed?.At ?? '' },
    ];
    const isDone = done.some(({ Serial, At }) => Serial === renewal.Serial && At >= eventTime);
    if (isDone || (!PausedAt && wantedAfterRenewal(deployment, renewal, deps.now()))) {
      return;
    }
    isActive ||= !PausedAt;
  }
  if (isActive) {
    throw new RetryLater(
      `ACM still shows the serial ${renewal.Serial} of ${renewal.CertificateArn}, which every deployment has.`,
    );
  }
}

async function startRenewal(renewal: Noticed, deps: HandleRenewalDeps): Promise<Started> {
  const count: Started = { Started: 0, Skipped: 0 };
  await inParallel(withSlots(renewal, deps), AT_ONCE, async ({ deployment, slot }) => {
    const wanted = wantedAfterRenewal(deployment, renewal, deps.now());
    // Lost only to others who want at least this, or to a move to another certificate.
    const written = wanted && (await deps.inventory.want(deployment.DeploymentId, deployment, wanted));
    const isDue = wanted || (await decide(deployment, undefined, deps)).action !== 'nothing';
    const how = { correlationId: renewal.CorrelationId, slot, written };
    const began = isDue && (await advance(deployment.DeploymentId, deps, how)).began;
    count[began ? 'Started' : 'Skipped'] += 1;
  });
  return count;
}

/**
 * Every deployment of the certificate. Those to which it is news get their slots page by page. While nothing begins, a slot
 * would be lost: the sweep that begins them later takes others.
 */
async function* withSlots(
  renewal: Noticed,
  deps: HandleRenewalDeps,
): AsyncGenerator<{ deployment: Deployment; slot: Date | undefined }> {
  const { inventory, now } = deps;
  for await (const page of inventory.fleet.pages({ CertificateArn: renewal.CertificateArn })) {
    const behind = page.filter((deployment) => wantedAfterRenewal(deployment, renewal, now()));
    const slots = await inventory.slots.take((await standstillOf(deps)) ? [] : behind);
    yield* page.map((deployment) => ({ deployment, slot: slots.get(deployment) }));
  }
}
