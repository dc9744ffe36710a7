import type { Deployment } from '../domain/deployment.ts';
import { stageOf } from '../domain/expiry.ts';
import { gauge } from '../runtime/observability.ts';

/** How the whole fleet is, as one sweep finds it: what the dashboard and the alarms show. */
export interface FleetHealth {
  Installed: number;
  Degraded: number;
  Waiting: number;
  /** Deployments whose last rollout failed; while one is tried again it stays counted. */
  Failed: number;
  /** Seconds since the first failure of the deployment that has failed longest; 0: none fails. */
  OldestFailureSeconds: number;
  /** Whole days until the first version that a node serves, or that is ready, expires; absent for an empty fleet. */
  DaysToExpiry?: number;
  /** Deployments of which a node serves a version with 14 of 198 days left, or the same fraction of a shorter lifetime. */
  NearExpiry: number;
}

const DAY_MS = 86_400_000;
/** Of the days at which people are told: ACM has tried to renew it for a month. */
const NEAR = 14;

/** @param deployments those that are kept up: no dry runs, none that is being deleted. */
export function healthOf(deployments: readonly Deployment[], now: Date): FleetHealth {
  // One that is paused fails no more until a person resumes it.
  const failing = deployments.flatMap(({ Observed: last, PausedAt }) =>
    last?.FailingSince && !PausedAt ? [Date.parse(last.FailingSince)] : [],
  );
  const expiries = deployments.map(({ NotAfter }) => Date.parse(NotAfter));
  const settled = (status: Deployment['Status']) =>
    deployments.filter(({ Status, Observed: last }) => Status === status && !last?.FailingSince).length;
  return {
    Installed: settled('INSTALLED'),
    Degraded: settled('DEGRADED'),
    Waiting: settled('WAITING'),
    Failed: failing.length,
    NearExpiry: deployments.filter((deployment) => (stageOf(deployment, now) ?? NEAR + 1) <= NEAR).length,
    OldestFailureSeconds: Math.max(0, ...failing.map((since) => Math.floor((now.getTime() - since) / 1000))),
    ...(expiries.length > 0
      ? { DaysToExpiry: Math.floor((expiries.reduce((a, b) => Math.min(a, b)) - now.getTime()) / DAY_MS) }
      : {}),
  };
}

/** Sets the metrics of the fleet. Each sweep shows it anew, so that an alarm ends when its cause has. */
export function showHealth(health: FleetHealth): void {
  gauge('InstalledDeployments', health.Installed);
  gauge('DegradedDeployments', health.Degraded);
  gauge('WaitingDeployments', health.Waiting);
  gauge('FailedDeployments', health.Failed);
  gauge('NearExpiryDeployments', health.NearExpiry);
  gauge('OldestOpenFailureAge', health.OldestFailureSeconds, 'Seconds');
  if (health.DaysToExpiry !== undefined) {
    gauge('DaysToExpiry', health.DaysToExpiry);
  }
}
