import type { Command } from 'commander';
import type { Deployment, FreezeState, Started } from '../answers.ts';
import type { Api } from '../api.ts';
import { chosenAll, NAMING, nameOf } from '../choose.ts';
import { confirm } from '../confirm.ts';
import type { Session } from '../connection.ts';
import { type ExitName, Stop, worstOf } from '../exit.ts';
import { tagFrom } from '../order-options.ts';
import { type Followed, followedOf, waitFor } from '../wait.ts';
import { addCommand, addWaiting, addYes, type Register, timeoutOf, type WaitOptions } from './command.ts';

const TIMEOUT = '30m';

interface Filters {
  tag?: string;
  account?: string;
  yes?: boolean;
}

/** Commands that hold rollouts up, and let them go on. */
export function addStopCommands(register: Register): void {
  addCommand<Filters>(
    register,
    {
      usage: 'pause [names...]',
      group: 'Stop',
      summary: 'stops new rollouts of some deployments until they are resumed',
      description: `Stops new rollouts of some deployments. A rollout that runs goes on to its end. People are still told when the certificate expires. ${NAMING}`,
      examples: [
        'acm-export pause www',
        'acm-export pause --tag acm-export=web',
        'acm-export pause --account 111122223333 --yes',
      ],
    },
    addFilters,
    async (session, filters, names) => {
      const { done, Refused } = await actOnAll(session, names, filters, 'pause');
      for (const { deployment } of done) {
        session.out.line(
          `${nameOf(deployment)} is paused. To end the pause: acm-export resume '${nameOf(deployment)}'`,
        );
      }
      return told(session, done, Refused);
    },
  );
  addCommand<Filters & WaitOptions>(
    register,
    {
      usage: 'resume [names...]',
      group: 'Stop',
      summary: 'ends a pause, and brings the deployments to the current version',
      description: `Ends a pause, and waits for the rollout that follows. ${NAMING}`,
      examples: ['acm-export resume www', 'acm-export resume --tag acm-export=web --no-wait'],
    },
    (command) => {
      addFilters(command);
      addWaiting(command, TIMEOUT);
    },
    async (session, options, names) => {
      const timeout = timeoutOf(options);
      const { done, Refused } = await actOnAll(session, names, options, 'resume');
      for (const { answer } of done) {
        for (const warning of answer.Warnings) session.out.note(`Warning: ${warning}`, 'yellow');
      }
      if (!options.wait || done.length === 0) {
        for (const { deployment } of done) session.out.line(`${nameOf(deployment)} goes on.`);
        return told(session, done, Refused);
      }
      const api = await session.api();
      const followed: Followed[] = [];
      for (const { answer } of done) followed.push(await followedOf(api, answer));
      const exit = await waitFor(session, followed, timeout, shown(Refused));
      return worstOf([exit, ...exitsOf(Refused)]);
    },
  );
  addCommand<{ reason?: string; show?: boolean }>(
    register,
    {
      usage: 'freeze',
      group: 'Stop',
      summary: 'stops new rollouts of all deployments until a thaw',
      description:
        'Stops new rollouts of all deployments of the stack. A sam deploy does not end the freeze. Rollouts that run go on to their end. Renewals wait for the thaw. --show only says whether a freeze lasts, with exit code 5 if one does.',
      examples: ['acm-export freeze --reason "Change freeze until Monday"', 'acm-export freeze --show'],
    },
    (command) => {
      command.option(
        '--reason <text>',
        'why, for people who meet the freeze: one line, up to 200 characters',
      );
      command.option('--show', 'freeze nothing: say whether a freeze lasts');
    },
    async (session, { reason, show }) => {
      if ((reason === undefined) === (show === undefined)) {
        throw new Stop('usage', 'freeze takes either --reason or --show.');
      }
      const api = await session.api();
      const state = reason === undefined ? await api.freezeState() : await api.freeze(reason);
      if (session.out.isJson) session.out.json(state);
      if (reason !== undefined && state.Reason !== reason) {
        session.out.note('A freeze lasted already. It stays as it is, with its reason.', 'yellow');
      }
      session.out.paragraph(stateOf(state));
      return show && isStopped(state) ? 'paused' : 'served';
    },
  );
  addCommand<{ yes?: boolean }>(
    register,
    {
      usage: 'thaw',
      group: 'Stop',
      summary: 'ends the freeze, even one that another person began',
      description: 'Ends the freeze. Rollouts that waited start by themselves within five minutes.',
      examples: ['acm-export thaw', 'acm-export thaw --yes'],
    },
    addYes,
    async (session, { yes }) => {
      const api = await session.api();
      const before = await api.freezeState();
      if (before.Frozen) await confirm(session, `${stateOf(before)} End it?`, yes);
      const state = before.Frozen ? await api.thaw() : before;
      if (session.out.isJson) session.out.json(state);
      session.out.paragraph(
        before.Frozen
          ? 'The freeze has ended. What waited begins within five minutes.'
          : 'No freeze lasts: there is nothing to end.',
      );
      if (state.RolloutsEnabled) return 'served';
      session.out.note(stateOf(state), 'yellow');
      return 'paused';
    },
  );
}

function addFilters(command: Command): void {
  command.option('--tag <key=value>', 'every deployment to servers with this tag, in place of names');
  command.option('--account <id>', 'every deployment to servers in this account, in place of names');
  addYes(command);
}

type Verb = 'pause' | 'resume';

/** What is named, or what fits the filters; of the latter a person is asked. @throws Stop */
async function selected(
  session: Session,
  api: Api,
  names: string[],
  { tag, account, yes }: Filters,
  verb: Verb,
): Promise<Deployment[]> {
  const isFiltered = tag !== undefined || account !== undefined;
  if (isFiltered === names.length > 0) {
    throw new Stop('usage', `${verb} takes either names, or --tag and --account.`);
  }
  if (!isFiltered) return chosenAll(api, names);
  const target = tag === undefined ? undefined : tagFrom(tag);
  const fitting = (
    await api.deployments(undefined, account === undefined ? {} : { TargetAccount: account })
  ).filter(
    (one) =>
      !target || (one.TargetTagKey === target.TargetTagKey && one.TargetTagValue === target.TargetTagValue),
  );
  if (fitting.length === 0) throw new Stop('failed', 'There is no such deployment.', 'See: acm-export list');
  const found: Deployment[] = [];
  for (const { CertName, DeploymentId } of fitting) {
    // Lists are some time behind.
    const current = await api.find(CertName, DeploymentId);
    if (current && (current.PausedAt === undefined) === (verb === 'pause')) found.push(current);
  }
  found.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  if (found.length === 0) {
    session.out.line(`There is nothing to do: ${verb === 'pause' ? 'all are paused' : 'none is paused'}.`);
    return [];
  }
  for (const one of found) session.out.line(`  ${nameOf(one)} in ${one.TargetAccount} ${one.TargetRegion}`);
  const count = found.length === 1 ? 'this deployment' : `these ${found.length} deployments`;
  await confirm(session, `${verb === 'pause' ? 'Pause' : 'Resume'} ${count}?`, yes);
  return found;
}

interface Done {
  deployment: Deployment;
  answer: Started;
}

interface Refusal {
  /** As `nameOf` writes it. */
  Deployment: string;
  Message: string;
  exit: ExitName;
}

/** One after the other: the API has a limit of requests a second. One that is refused does not hold up the others. */
async function actOnAll(
  session: Session,
  names: string[],
  filters: Filters,
  verb: Verb,
): Promise<{ done: Done[]; Refused: Refusal[] }> {
  const { out, world } = session;
  const api = await session.api();
  const all = await selected(session, api, names, filters, verb);
  const done: Done[] = [];
  const Refused: Refusal[] = [];
  for (const deployment of all) {
    if (world.interrupted.aborted) {
      throw new Stop('interrupted', 'Interrupted. Repeat the command to do the rest.');
    }
    try {
      done.push({ deployment, answer: await api.act(deployment.CertName, deployment.DeploymentId, verb) });
    } catch (error) {
      // A single one ends the command as any refusal does.
      if (!(error instanceof Stop) || all.length === 1) throw error;
      const Message = [error.message, ...error.advice].join(' ');
      Refused.push({ Deployment: nameOf(deployment), Message, exit: error.exit });
      out.note(`${nameOf(deployment)}: ${Message}`, 'red');
    }
  }
  return { done, Refused };
}

const shown = (refused: Refusal[]) =>
  refused.length > 0 ? { Refused: refused.map(({ Deployment, Message }) => ({ Deployment, Message })) } : {};

const exitsOf = (refused: Refusal[]): ExitName[] =>
  refused.map(({ exit }) => (exit === 'usage' ? 'failed' : exit));

function told({ out }: Session, done: Done[], Refused: Refusal[]): ExitName {
  const worst = worstOf(exitsOf(Refused));
  if (out.isJson) {
    out.json({ Outcome: worst, Deployments: done.map(({ answer }) => answer), ...shown(Refused) });
  }
  return worst;
}

const isStopped = ({ Frozen, RolloutsEnabled }: FreezeState): boolean => Frozen || !RolloutsEnabled;

function stateOf(state: FreezeState): string {
  const { Frozen, RolloutsEnabled, FrozenAt, FrozenBy, Reason } = state;
  return [
    ...(Frozen
      ? [`All rollouts are frozen since ${FrozenAt}, by ${FrozenBy}: ${JSON.stringify(Reason)}.`]
      : []),
    ...(RolloutsEnabled ? [] : ['The stack starts no rollouts: its parameter RolloutsEnabled is false.']),
    ...(isStopped(state) ? [] : ['No freeze lasts: rollouts begin.']),
  ].join(' ');
}
