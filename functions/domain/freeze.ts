import { type Deployment, timestamp } from './deployment.ts';
import { DAILY, type Notification, pathOf, placeOf, SUBJECTS } from './notification.ts';

/** The last freeze of all rollouts. Times are ISO 8601. */
export interface Freeze {
  /** Tells it from the freeze before, however soon it follows. */
  Id: string;
  FrozenAt: string;
  /** ARN of the caller. */
  FrozenBy: string;
  /** Why, in the caller's words. */
  Reason: string;
  /** Absent while it lasts. */
  ThawedAt?: string;
  ThawedBy?: string;
  /** What people were told of it last. */
  Told?: 'frozen' | 'thawed';
}

/** Longest Reason: a sentence or two, which stands in answers and messages. */
export const LONGEST_REASON = 200;

/** Whether a text is one line that shows what it is: no control and format characters, and not only spaces. */
export const isPlainLine = (text: string) =>
  /\S/.test(text) && !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text);

/** The freeze, while it lasts. */
export const lasting = (freeze: Freeze | undefined) => (freeze?.ThawedAt === undefined ? freeze : undefined);

/** The quotation marks show where the words of a person end. */
export const frozenText = ({ FrozenAt, FrozenBy, Reason }: Freeze) =>
  `All rollouts are frozen (since ${FrozenAt}, by ${FrozenBy}): ${JSON.stringify(Reason)}.`;

const EVERYWHERE = 'every deployment of this stack';

/** The message that all rollouts were frozen. */
export const freezeAlert = (freeze: Freeze): Notification => ({
  Subject: SUBJECTS.frozen(),
  What: `${frozenText(freeze)} No rollout begins until a person thaws them. Rollouts that have begun go on to their end. Renewals are noted, and delivered after the thaw.`,
  Where: EVERYWHERE,
  Since: freeze.FrozenAt,
  WhatToDo:
    'Nothing, if the freeze is meant. Certificates come nearer to their expiry meanwhile. POST /thaw ends the freeze.',
});

/** The message that all rollouts were thawed. */
export const thawAlert = (freeze: Freeze): Notification => ({
  Subject: SUBJECTS.thawed(),
  What: `${freeze.ThawedBy} has thawed all rollouts. ${freeze.FrozenBy} had frozen them at ${freeze.FrozenAt}: ${JSON.stringify(freeze.Reason)}. Rollouts that waited begin within five minutes. Where many wait, they begin one after another.`,
  Where: EVERYWHERE,
  Since: freeze.ThawedAt ?? freeze.FrozenAt,
  WhatToDo: 'Nothing.',
});

/** What keeps rollouts from beginning for longer than it may without a word. */
export interface Stops {
  /** Since when the parameter RolloutsEnabled is false, as far as a sweep has seen it. */
  offSince?: string | undefined;
  freeze?: Freeze | undefined;
  /** The one that is paused longest in front. */
  paused: readonly (Deployment & { PausedAt: string })[];
}

/** Whether a deployment is paused. One that is being deleted needs no person to resume it. */
export const isPaused = (deployment: Deployment): deployment is Deployment & { PausedAt: string } =>
  deployment.PausedAt !== undefined && deployment.Status !== 'DELETING';

/** What has lasted for so many days. */
export function stopsOf(
  {
    offSince,
    freeze,
    fleet,
  }: { offSince: string | undefined; freeze: Freeze | undefined; fleet: readonly Deployment[] },
  days: number,
  now: Date,
): Stops {
  const before = timestamp(new Date(now.getTime() - days * DAY_MS));
  const paused = fleet.filter(isPaused).filter(({ PausedAt }) => PausedAt <= before);
  return {
    offSince: offSince && offSince <= before ? offSince : undefined,
    freeze: freeze && freeze.FrozenAt <= before ? freeze : undefined,
    paused: paused.sort((a, b) => (a.PausedAt < b.PausedAt ? -1 : 1)),
  };
}

const DAY_MS = 86_400_000;
/** Names at most ten, as all messages do. */
const MOST_NAMED = 10;

/** The one message of what stands still; undefined where nothing does. */
export function stopsReminder({ offSince, freeze, paused }: Stops): Notification | undefined {
  const all = [
    ...(offSince
      ? [`This stack starts no rollouts: its parameter RolloutsEnabled is false, at least since ${offSince}.`]
      : []),
    ...(freeze ? [frozenText(freeze)] : []),
  ];
  const since = [offSince, freeze?.FrozenAt, paused[0]?.PausedAt].filter((at) => at !== undefined).sort();
  const [first] = since;
  if (!first) {
    return undefined;
  }
  const named = paused
    .slice(0, MOST_NAMED)
    .map((deployment) => `${deployment.CertName} since ${deployment.PausedAt}: ${placeOf(deployment)}`);
  const more = paused.length - named.length;
  const count = `${paused.length} ${paused.length === 1 ? 'deployment' : 'deployments'}`;
  const what = [...(all.length > 0 ? ['all rollouts'] : []), ...(paused.length > 0 ? [count] : [])];
  return {
    Subject: SUBJECTS.stopped(what.join(' and ')),
    What: [
      ...all,
      ...(paused.length > 0
        ? [
            `${count} ${paused.length === 1 ? 'is' : 'are'} paused: nothing is installed there, and no renewal arrives.`,
          ]
        : []),
    ].join(' '),
    Where: [
      ...(all.length > 0 ? [EVERYWHERE] : []),
      ...named,
      ...(more > 0 ? [`and ${more} more: GET /deployments?Status=PAUSED lists all of them`] : []),
    ].join('; '),
    Since: first,
    WhatToDo: [
      ...(offSince ? ['Deploy with RolloutsEnabled=true.'] : []),
      ...(freeze ? ['POST /thaw when the reason has gone.'] : []),
      ...(paused.length > 0
        ? [
            `Resume each deployment that is to go on: POST ${pathOf(paused)}/resume. DELETE those that nobody needs.`,
          ]
        : []),
      DAILY,
    ].join(' '),
  };
}
