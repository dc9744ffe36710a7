import * as z from 'zod';
import { type Deployment, STATUSES } from '../domain/deployment.ts';
import { isPaused } from '../domain/freeze.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { compareCertificates } from './compare-certificates.ts';
import { tellOfDenials } from './denials.ts';
import { healthOf } from './fleet-health.ts';
import { lookAtBundles } from './look-at-bundles.ts';
import { lookAtMembers } from './look-at-members.ts';
import { lookAtReaders } from './look-at-readers.ts';
import { lookAtRecords } from './look-at-records.ts';
import { guarded, newPass, type Pass, type ReconcileDeps } from './pass.ts';
import { sweepNodes } from './sweep-nodes.ts';
import { remindOfStops, tellOfFreeze } from './tell-of-stops.ts';
import { finishDeletion, tend } from './tend.ts';
import { tendRequests } from './tend-requests.ts';

/** What the two schedules send. */
export const ReconcileEvent = z.object({ Task: z.enum(['nodes', 'certificates']) });

/** Most need no call; those that begin a rollout make six. */
const TENDED_AT_ONCE = 16;

/** Makes the promise true where events were lost, rollouts died or nodes changed. Tells people of what is denied for good. */
export async function reconcile(task: 'nodes' | 'certificates', deps: ReconcileDeps): Promise<Pass> {
  const pass = newPass();
  // In one of the two kinds: both begin at the same minute of each hour.
  if (task === 'nodes') {
    await guarded(pass, 'what people are told of a freeze', () => tellOfFreeze(pass, deps));
    await guarded(pass, 'the requests for certificates', () => tendRequests(pass, deps));
  }
  await sweep(task, pass, deps);
  const others = pass.Errors - pass.Denied.length;
  const isTold = await guarded(pass, 'what people are told of denials', async () => {
    pass.Notified += await tellOfDenials(task, pass, deps);
  });
  pass.Faults = isTold ? others : pass.Errors;
  return pass;
}

async function sweep(task: 'nodes' | 'certificates', pass: Pass, deps: ReconcileDeps): Promise<void> {
  const untold = pass.Errors;
  // Where it cannot be read, it is corrected by a later sweep.
  const size = await deps.inventory.fleet.size().catch(() => undefined);
  // By id: while the statuses are read one after the other, a deployment may change from one to the next.
  const found = new Map<string, Deployment>();
  for (const Status of STATUSES) {
    await guarded(pass, `status ${Status}`, async () => {
      for await (const deployment of deps.inventory.fleet.all({ Status })) {
        found.set(deployment.DeploymentId, deployment);
      }
    });
  }
  const unread = pass.Errors - untold;
  if (unread === STATUSES.length) {
    pass.MustRepeat = true;
    return;
  }
  const fleet = [...found.values()].filter(({ Status }) => Status !== 'DELETING');
  // What is only tried out is not registered.
  const registered = fleet.filter(({ Wanted }) => Wanted);
  pass.Examined = fleet.length;
  if (unread === 0) {
    pass.Health = healthOf(registered, deps.now());
    if (size !== found.size) {
      await guarded(pass, 'the size of the fleet', () => deps.inventory.fleet.noteSize(size, found.size));
    }
  }
  await inParallel(fleet, TENDED_AT_ONCE, (deployment) =>
    guarded(pass, deployment.DeploymentId, () => tend(deployment, pass, deps)),
  );
  if (task === 'nodes') {
    const paused = new Set(fleet.filter(isPaused).map(({ DeploymentId }) => DeploymentId));
    await guarded(pass, 'the marks of what is paused', () => deps.inventory.correctPauses(paused));
    const onNodes = registered.filter((d) => d.Delivery !== 'secret');
    await sweepNodes(onNodes, pass, deps);
    return;
  }
  const before = pass.Errors;
  await compareCertificates(registered, pass, deps);
  pass.MustRepeat = unread > 0 || pass.Errors > before;
  await lookAtMembers(registered, pass, deps);
  await lookAtReaders(registered, pass, deps);
  await lookAtBundles(registered, pass, deps);
  if (unread === 0) {
    await guarded(pass, 'validation records', () => lookAtRecords(registered, pass, deps));
  }
  if (unread === 0) {
    await guarded(pass, 'what people are reminded of', () => remindOfStops(fleet, pass, deps));
  }
  for (const deployment of found.values()) {
    if (deployment.Status === 'DELETING') {
      await guarded(pass, deployment.DeploymentId, () => finishDeletion(deployment, pass, deps));
    }
  }
}
