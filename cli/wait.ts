import type { Deployment, DeploymentWithNodes, Node, Started } from './answers.ts';
import type { Api } from './api.ts';
import { nameOf } from './choose.ts';
import type { Session } from './connection.ts';
import { type ExitName, Stop, worstOf } from './exit.ts';
import { type Awaited, type Outcome, outcomeOf } from './outcome.ts';
import { statusColour, statusOf } from './show.ts';
import { type Column, tableOf } from './table.ts';

/** A deployment that is waited for. */
export interface Followed {
  deployment: Deployment;
  awaited: Awaited;
}

/** What a request has started, to be waited for. */
export async function followedOf(
  api: Api,
  { CertName, DeploymentId, RolloutNumber: number }: Started,
): Promise<Followed> {
  const deployment = await api.deployment(CertName, DeploymentId, true);
  return { deployment, awaited: number === undefined ? {} : { rolloutNumber: number } };
}

/** A call of the API costs next to nothing, and a person waits: often at first, then less so. */
const OFTEN_MS = 2000;
const SELDOM_MS = 5000;
const OFTEN_FOR_MS = 60_000;

interface Progress extends Followed {
  deployment: DeploymentWithNodes;
  outcome?: Outcome | undefined;
  /** What was said of it so far. */
  said: Set<string>;
}

/**
 * Waits until each of the deployments has come to rest, and shows how it goes: on a terminal a live table, elsewhere a line
 * for each change. Says at the end how each one is.
 *
 * @param timeout milliseconds.
 * @param more what JSON output has beside the deployments.
 * @returns the worst of the outcomes.
 * @throws Stop when the person interrupts.
 */
export async function waitFor(
  session: Session,
  followed: Followed[],
  timeout: number,
  more: object = {},
): Promise<ExitName> {
  const { world, out } = session;
  const api = await session.api();
  const begin = world.now().getTime();
  const all: Progress[] = followed.map((one) => ({
    ...one,
    deployment: { Nodes: [], ...one.deployment },
    said: new Set(),
  }));
  for (;;) {
    await look(api, all).catch((error: unknown) => {
      throw error instanceof Stop && error.exit === 'interrupted' ? interruptedWhile(all) : error;
    });
    if (out.isLive) out.draw(liveTable(session, all));
    else for (const one of all) tell(session, one);
    const isOver = all.every(({ outcome }) => outcome !== undefined);
    const elapsed = world.now().getTime() - begin;
    if (isOver || elapsed >= timeout) break;
    const pause = elapsed < OFTEN_FOR_MS ? OFTEN_MS : SELDOM_MS;
    await world.sleep(Math.min(pause, timeout - elapsed));
    if (world.interrupted.aborted) throw interruptedWhile(all);
  }
  return conclude(session, all, more);
}

async function look(api: Api, all: Progress[]): Promise<void> {
  // One after the other: an apply may follow hundreds, and the API has a limit of requests a second.
  for (const one of all) {
    if (one.outcome) continue;
    one.deployment = await api.deployment(one.deployment.CertName, one.deployment.DeploymentId, true);
    one.outcome = outcomeOf(one.deployment, one.awaited);
  }
}

function interruptedWhile(all: Progress[]): Stop {
  const names = all.filter(({ outcome }) => !outcome).map(({ deployment }) => nameOf(deployment));
  return new Stop(
    'interrupted',
    'The wait is over. What was started goes on.',
    ...names.slice(0, 5).map((name) => `Go on watching: acm-export watch '${name}'`),
    ...(names.length > 5 ? [`And ${names.length - 5} more.`] : []),
  );
}

function conclude({ out }: Session, all: Progress[], more: object): ExitName {
  const exits = all.map(({ outcome }) => outcome?.exit ?? 'timedOut');
  const worst = worstOf(exits);
  if (out.isJson) {
    const Deployments = all.map(({ deployment, outcome }) => ({
      Outcome: outcome?.exit ?? 'timedOut',
      ...deployment,
    }));
    out.json({ Outcome: worst, Deployments, ...more });
    return worst;
  }
  for (const { deployment, outcome } of all) {
    const exit = outcome?.exit ?? 'timedOut';
    const colour = exit === 'served' ? 'green' : exit === 'failed' ? 'red' : 'yellow';
    const text =
      outcome?.text ??
      `Not ended yet, and the wait is over. It goes on: acm-export watch '${nameOf(deployment)}'`;
    out.line(`${nameOf(deployment)}: ${WORDS[exit]}`, colour);
    out.paragraph(text, '  ');
    for (const { NodeId, Error: error, Note } of all.length === 1 ? deployment.Nodes : []) {
      if (error ?? Note) out.paragraph(`${NodeId}: ${error ?? Note}`, '  ');
    }
  }
  return worst;
}

const WORDS: Partial<Record<ExitName, string>> = {
  served: 'served',
  failed: 'FAILED',
  degraded: 'not everywhere',
  paused: 'paused',
  timedOut: 'timed out',
};

/** What the rollout that is waited for has done on a node so far. */
function doneOn(node: Node, { awaited, deployment }: Progress): string | undefined {
  if (awaited.trialNumber !== undefined) {
    const trial = node.DryRun;
    return trial?.RolloutNumber === awaited.trialNumber ? trial.Outcome : undefined;
  }
  const isOfThis = node.RolloutNumber !== undefined && node.RolloutNumber >= deployment.RolloutNumber;
  return isOfThis ? node.Outcome : undefined;
}

function phaseOf({ deployment, awaited, outcome }: Progress): string {
  const { Rollout, Pending, Reason, NextAttemptAt } = deployment;
  if (outcome) return statusOf(deployment);
  if (Rollout) {
    const from = NextAttemptAt ? ` It starts at ${NextAttemptAt}.` : '';
    return `${Pending ? 'another rollout runs first' : Reason}${from}`;
  }
  return awaited.otherThan ? 'waiting until ACM has renewed the certificate' : Reason;
}

/** A line for each thing that is new. */
function tell({ out, world }: Session, one: Progress): void {
  const say = (text: string) => {
    if (one.said.has(text)) return;
    one.said.add(text);
    out.line(`${world.now().toISOString().slice(11, 19)} ${nameOf(one.deployment)}: ${text}`);
  };
  if (!one.outcome) say(phaseOf(one));
  for (const node of one.deployment.Nodes) {
    const done = doneOn(node, one);
    if (done) say(`${node.NodeId} ${done}`);
  }
}

/** As many lines as the terminal has: what does not fit is counted. */
function liveTable({ out }: Session, all: Progress[]): string[] {
  const most = Math.max(3, out.rows - 4);
  const columns: Column<Progress>[] = [
    { title: 'NAME', text: ({ deployment }) => nameOf(deployment), isCut: true },
    {
      title: 'STATUS',
      text: ({ deployment }) => statusOf(deployment),
      colour: ({ deployment }) => statusColour(deployment),
    },
    {
      title: 'SERVERS',
      text: (one) => {
        const done = one.deployment.Nodes.filter((node) => doneOn(node, one)).length;
        return `${done} of ${one.deployment.Nodes.length}${one.deployment.NextToken ? '+' : ''}`;
      },
    },
    { title: 'NOW', text: phaseOf, isCut: true },
  ];
  const lines = tableOf(columns, all.slice(0, most), out.width, out.paint);
  const only = all.length === 1 ? all[0] : undefined;
  const nodes = only?.deployment.Nodes.map((node) => ({ node, done: doneOn(node, only) ?? 'waiting' })) ?? [];
  const shown = nodes.slice(0, most - lines.length);
  const table = tableOf<(typeof nodes)[number]>(
    [
      { title: 'SERVER', text: ({ node }) => node.NodeId },
      { title: 'ROLLOUT', text: ({ done }) => done },
    ],
    shown,
    out.width,
    out.paint,
  );
  const hidden = Math.max(0, all.length - most) + nodes.length - shown.length;
  return [
    ...lines,
    ...(shown.length > 0 ? ['', ...table] : []),
    ...(hidden > 0 ? [`… and ${hidden} more`] : []),
  ];
}
