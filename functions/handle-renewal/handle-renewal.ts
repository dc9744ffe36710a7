import type { ACMClient } from '@aws-sdk/client-acm';
import * as z from 'zod';
import {
  type Certificate,
  describeDeployable,
  isCertificateArn,
  NotDeployable,
} from '../shared/certificate.ts';
import { type Deployment, timestamp } from '../shared/deployment.ts';
import { RetryLater } from '../shared/errors.ts';
import { type Inventory, inParallel } from '../shared/inventory.ts';
import { logFields, logger } from '../shared/observed.ts';
import { bringToSerial, isBehind, mayStart, type RolloutDeps } from '../shared/rollout.ts';
import { takeTurns } from '../shared/turns.ts';

/** The fields that are read of ACM's event; the meaning of the others is not certain. */
const RenewalEvent = z.object({
  source: z.literal('aws.acm'),
  'detail-type': z.literal('ACM Certificate Available'),
  id: z.string().regex(/^[A-Za-z0-9-]{1,64}$/, 'not the id of an event'),
  time: z.iso.datetime({ offset: true }),
  resources: z.array(z.string()).min(1),
  detail: z.object({ Action: z.literal('RENEWAL') }),
});

export type RenewalEvent = z.infer<typeof RenewalEvent>;

export interface HandleRenewalDeps extends RolloutDeps {
  acm: ACMClient;
  account: string;
  region: string;
  /** Runs the work once for a certificate and serial. */
  onceForSerial: (renewal: Renewal) => Promise<Started>;
}

/** What one renewal is known by: ACM's event has no serial, so it comes from ACM itself. */
export interface Renewal {
  Key: string;
  CertificateArn: string;
  Serial: string;
  CorrelationId: string;
}

export interface Started {
  Started: number;
  Skipped: number;
}

export type RenewalOutcome = Started | { Ignored: string };

/**
 * Deployments handled at once: 10,000 take about 60 calls of 20 ms in a row each way, and StartExecution gives
 * 300 a second after its burst.
 */
const AT_ONCE = 64;

/**
 * Starts the rollout of a renewed certificate for every place where it is deployed.
 *
 * @throws RetryLater while ACM still shows the serial that every deployment has: Lambda calls again a minute later.
 */
export async function handleRenewal(event: unknown, deps: HandleRenewalDeps): Promise<RenewalOutcome> {
  const parsed = RenewalEvent.safeParse(event);
  if (!parsed.success) {
    // A foreign event may be large, and wrong in every element.
    const issues = parsed.error.issues.slice(0, 5);
    const reason = issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    return ignore(`not the event of a renewal: ${reason}`);
  }
  const arn = parsed.data.resources[0] as string;
  const [, , , region, account] = arn.split(':');
  if (!isCertificateArn(arn) || region !== deps.region || account !== deps.account) {
    return ignore(`${arn.slice(0, 200)} is not a certificate of account ${deps.account} in ${deps.region}`);
  }
  logFields({ CertificateArn: arn, CorrelationId: parsed.data.id });
  const { items: some } = await deps.inventory.fleet({ CertificateArn: arn }, 1);
  if (some.length === 0) {
    logger.debug('Ignored', { Reason: `${arn} is not deployed by this system` });
    return { Ignored: `${arn} is not deployed by this system` };
  }
  const certificate = await describe(arn, deps);
  if (!certificate) {
    return ignore(`${arn} cannot be delivered any more`);
  }
  await refuseEarly(certificate, parsed.data, deps);
  return deps.onceForSerial({
    Key: `${arn}#${certificate.Serial}`,
    CertificateArn: arn,
    Serial: certificate.Serial,
    CorrelationId: parsed.data.id,
  });
}

function ignore(reason: string): RenewalOutcome {
  logger.warn('Ignored', { Reason: reason });
  return { Ignored: reason };
}

/** A certificate that was deleted or revoked since is for report-failure and reconcile to tell people about. */
async function describe(arn: string, deps: HandleRenewalDeps): Promise<Certificate | undefined> {
  try {
    return await describeDeployable(deps.acm, arn);
  } catch (error) {
    if (error instanceof NotDeployable) {
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
 * The event may come before ACM shows the new serial: then no deployment is behind, and none has had a rollout to
 * this serial since the event. (An event that is delivered late, or again, finds such rollouts.)
 *
 * @throws RetryLater
 */
async function refuseEarly(
  certificate: Certificate,
  event: RenewalEvent,
  deps: HandleRenewalDeps,
): Promise<void> {
  const { CertificateArn, Serial } = certificate;
  const eventTime = timestamp(new Date(event.time));
  let active = false;
  for await (const deployment of deps.inventory.all({ CertificateArn })) {
    const { Rollout: claim, LastRollout: last } = deployment;
    const since =
      (claim?.Serial === Serial && claim.ClaimedAt >= eventTime) ||
      (last?.Serial === Serial && last.At >= eventTime);
    if (since || isBehind(deployment, Serial)) {
      return;
    }
    active ||= mayStart(deployment);
  }
  if (active) {
    throw new RetryLater(
      `ACM still shows the serial ${Serial} of ${CertificateArn}, which every deployment has.`,
    );
  }
}

/**
 * Claims and starts one rollout for every deployment that is behind. One that fails does not hold up the others.
 *
 * @throws the first failure, when all have been tried: a repeated call does what is left.
 */
export async function startRenewal(renewal: Renewal, deps: RolloutDeps): Promise<Started> {
  const { CertificateArn, Serial, CorrelationId } = renewal;
  const count: Started = { Started: 0, Skipped: 0 };
  await inParallel(withTurns(renewal, deps.inventory), AT_ONCE, async ({ deployment, turn }) => {
    const started = await bringToSerial(
      deployment,
      { CertificateArn, Serial, Cause: 'RENEWAL', CorrelationId },
      deps,
      turn,
    );
    count[started ? 'Started' : 'Skipped'] += 1;
  });
  return count;
}

/** Every deployment of the certificate. Those that are behind get their turns page by page. */
async function* withTurns(
  { CertificateArn, Serial }: Renewal,
  inventory: Inventory,
): AsyncGenerator<{ deployment: Deployment; turn: Date | undefined }> {
  for await (const page of inventory.pages({ CertificateArn })) {
    const behind = page.filter((deployment) => isBehind(deployment, Serial));
    const turns = await takeTurns(behind, inventory);
    yield* page.map((deployment) => ({ deployment, turn: turns.get(deployment) }));
  }
}
