import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { bundleAlert, bundleFinding, isBundleDue, isBundleTold } from '../domain/bundle.ts';
import { type BundleFinding, type Deployment, secretNameOf, timestamp } from '../domain/deployment.ts';
import { decide } from '../rollouts/advance.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { describeBundle } from '../target-account/bundle.ts';
import { inTarget, type SessionStatement, targetArns } from '../target-account/session.ts';
import { guarded, type Pass, type ReconcileDeps } from './pass.ts';

/** Accounts side by side: one that answers slowly does not hold up the others. */
const PLACES_AT_ONCE = 4;
/** Some hundred calls a second to an account, which has 10,000 for DescribeSecret and GetSecretValue together. */
const BUNDLES_AT_ONCE = 16;

type Found = Deployment & { BundleFinding: BundleFinding };

/** Notes which bundles are missing or scheduled for deletion, and tells people. What begins then, the next sweep decides. */
export async function lookAtBundles(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const found: Found[] = [];
  const due = fleet.filter((deployment) => isBundleDue(deployment, deps.now()));
  const places = Map.groupBy(due, (d) => `${d.TargetAccount}/${d.TargetRegion}`);
  await inParallel(places, PLACES_AT_ONCE, ([name, deployments]) =>
    guarded(pass, `the bundles in ${name}`, async () => {
      const { secretsManager } = await connect(deployments[0] as Deployment, deps);
      // All are looked at, also when one fails: an account that denies the call is one error, not one a bundle.
      await inParallel(deployments, BUNDLES_AT_ONCE, async (deployment) => {
        const noted = await lookAt(deployment, secretsManager, deps);
        found.push(...(noted?.BundleFinding ? [noted as Found] : []));
      });
    }),
  );
  await guarded(pass, 'what people are told of bundles', () => tell(found, pass, deps));
}

function connect(first: Deployment, deps: ReconcileDeps) {
  const Resource = targetArns(deps, first).bundles;
  const look: SessionStatement = { Effect: 'Allow', Action: ['secretsmanager:DescribeSecret'], Resource };
  return deps.connectTarget(first, [look]);
}

/** @returns the deployment as it is then, if something was noted. */
async function lookAt(
  deployment: Deployment,
  client: SecretsManagerClient,
  deps: ReconcileDeps,
): Promise<Deployment | undefined> {
  const { BundleFinding: known } = deployment;
  const secret = await inTarget(deployment, () =>
    describeBundle(client, secretNameOf(deps.prefix, deployment)),
  );
  const finding = bundleFinding(known, secret, deps.now());
  // Also where nothing is new: the write shows whether a DELETE or a rollout has come meanwhile.
  return finding || known ? deps.inventory.noteBundle(deployment, finding) : undefined;
}

/** Tells people once a day of each, of all of a kind in one message. */
async function tell(found: Found[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const now = deps.now();
  const decided = await Promise.all(
    found.map(async (deployment) => ({ deployment, decision: await decide(deployment, undefined, deps) })),
  );
  const untold = decided
    .filter(({ deployment, decision }) => isBundleTold(deployment, decision, now))
    .map(({ deployment }) => deployment)
    .sort((a, b) => (a.BundleFinding.Since < b.BundleFinding.Since ? -1 : 1));
  for (const [kind, alike] of Map.groupBy(untold, ({ BundleFinding: { Kind } }) => Kind)) {
    await deps.notify(`bundle#${kind}#${alike[0]?.DeploymentId}`, bundleAlert(alike, deps.prefix));
    pass.Notified += 1;
    await inParallel(alike, BUNDLES_AT_ONCE, (deployment) =>
      deps.inventory.noteBundle(deployment, { ...deployment.BundleFinding, ToldAt: timestamp(now) }),
    );
  }
}
