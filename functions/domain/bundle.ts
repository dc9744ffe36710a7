import { type BundleFinding, type Deployment, secretNameOf, timestamp } from './deployment.ts';
import type { Decision } from './next.ts';
import { DAILY, type Notification, pathOf, placesOf, SUBJECTS, wasTold } from './notification.ts';

/** Days in which a deleted bundle can be restored: the least that Secrets Manager gives. */
export const RECOVERY_DAYS = 7;

/** The tag of what is a deployment's in its target account: the second one of its bundle, the one of its Automations. */
export const DEPLOYMENT_TAG = 'acm-export:deployment-id';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Each account has one hour of the day in which is looked at what seldom changes there. */
export const isItsHour = (account: string, now: Date): boolean =>
  Number(account) % 24 === Math.floor(now.getTime() / HOUR_MS) % 24;

/**
 * Whether this hour's sweep looks at the bundle. Each account has its hour: 10,000 deployments are 10,000 calls
 * a day, and people know of a deletion on the first of the seven days at least in which the bundle can be restored. A bundle
 * that is read without a node is looked at every hour, because it is all that is served, and so is one with a finding. A
 * rollout, and a POST until its rollout has succeeded, see to the bundle themselves.
 */
export function isBundleDue(deployment: Deployment, now: Date): boolean {
  const { Running, RestoreBundle, Observed, VersionId = Observed?.VersionId } = deployment;
  const isHourly = deployment.Delivery === 'secret' || deployment.BundleFinding !== undefined;
  const isDue = isHourly || isItsHour(deployment.TargetAccount, now);
  return isDue && VersionId !== undefined && !Running && !RestoreBundle;
}

/**
 * What a look found; undefined where the bundle is there.
 *
 * @param secret undefined where there is none. Its DeletedDate is the time of the deletion by the API reference of
 *   ListSecrets, and the end of the recovery window by that of DescribeSecret. A time that has passed is taken for the
 *   former, with the shortest window.
 */
export function bundleFinding(
  known: BundleFinding | undefined,
  secret: { DeletedDate?: Date | undefined } | undefined,
  now: Date,
): BundleFinding | undefined {
  const Kind = secret ? 'deletion' : 'missing';
  const before = known?.Kind === Kind ? known : { Since: timestamp(now) };
  const deleted = secret?.DeletedDate;
  if (!secret || !deleted) {
    return secret ? undefined : { ...before, Kind };
  }
  const end = new Date(deleted.getTime() + RECOVERY_DAYS * DAY_MS);
  return deleted > now
    ? { ...before, Kind, DeletableFrom: timestamp(deleted) }
    : { ...before, Kind, Since: timestamp(deleted), DeletableFrom: timestamp(end) };
}

/**
 * Whether people are told now: once a day, where they have something to do. A bundle that is written anew has another ARN,
 * and readers without a node may name the old one.
 *
 * @param decision what is done by itself.
 */
export function isBundleTold(deployment: Deployment, { at }: Decision, now: Date): boolean {
  const { Kind, ToldAt } = deployment.BundleFinding ?? {};
  return (
    !wasTold(ToldAt, now) && (Kind === 'deletion' || deployment.Delivery === 'secret' || at === undefined)
  );
}

/** What a person is told of a finding, and does about it. */
const TEXTS: Record<BundleFinding['Kind'], [what: string, means: string, advice: string]> = {
  deletion: [
    'is scheduled for deletion',
    'A person or a program has scheduled these bundles for deletion. Nobody can read them until they are restored. New servers and renewals fail.',
    'To restore the bundle, POST the deployment again (its name and tag are enough). If the deletion is meant, DELETE the deployment.',
  ],
  missing: [
    'is missing',
    'These bundles do not exist any more. A rollout writes each of them anew, under the same name and another ARN. It does not begin while the deployment is paused or all rollouts are frozen.',
    'Give the new ARN to readers that name the bundle by its ARN. Resume a paused deployment: POST {path}/resume.',
  ],
};

/** The message that bundles are missing, or scheduled for deletion. @param found of one kind, the one found first in front. */
export function bundleAlert(found: readonly Deployment[], prefix: string): Notification {
  const [first] = found as [Deployment];
  const { Kind, Since } = first.BundleFinding as BundleFinding;
  const [what, means, advice] = TEXTS[Kind];
  // As many as placesOf names.
  const named = found.slice(0, 10).map((deployment) => {
    const from = deployment.BundleFinding?.DeletableFrom;
    return `${secretNameOf(prefix, deployment)}${from ? ` may be deleted for good from ${from} on` : ''}`;
  });
  return {
    Subject: SUBJECTS.bundle(first, what, found.length - 1),
    What: `${means} Servers still serve what they have. Bundles: ${named.join('; ')}.`,
    Where: placesOf(found),
    Since,
    WhatToDo: `Find out who deleted it (CloudTrail, DeleteSecret). ${advice.replace('{path}', pathOf(found))} ${DAILY}`,
  };
}
