import { requestOf } from '../../functions/domain/order-changes.ts';
import type { Deployment } from '../answers.ts';
import type { Api } from '../api.ts';
import { confirm } from '../confirm.ts';
import type { Session } from '../connection.ts';
import { EXIT, type ExitName, Stop, worstOf } from '../exit.ts';
import { type Entry, readDeployments } from '../file.ts';
import { entryOf, exportOf, isStanding, planOf, type Step } from '../plan.ts';
import { textOf } from '../text-of.ts';
import { type Followed, followedOf, waitFor } from '../wait.ts';
import { addCommand, addWaiting, addYes, type Register, timeoutOf, type WaitOptions } from './command.ts';

interface FileOptions {
  file: string;
  prune?: boolean;
}

const PRUNE =
  'also remove deployments that the file does not have, but only of a CertName that it has; the plan lists each one';
const SHAPE =
  'The file has a list named Deployments, as acm-export export writes it. Each entry has CertName, TargetTagKey, TargetTagValue, CertificateArn and further fields of a request. A field that an entry leaves out gets its default, even if another value is registered. docs/examples/certificates.yaml is an example.';

/** Commands that work on a file of deployments in version control. */
export function addFileCommands(register: Register): void {
  addCommand<FileOptions & { exitCode?: boolean }>(
    register,
    {
      usage: 'plan',
      group: 'Files',
      summary: 'shows what apply would change, and changes nothing',
      description: `Compares a file of deployments with what is registered. ${SHAPE}`,
      examples: [
        'acm-export plan -f certificates.yaml',
        'acm-export plan -f certificates.yaml --prune --exit-code',
      ],
    },
    (command) => {
      command
        .requiredOption('-f, --file <file>', 'the file; - reads standard input')
        .option('--prune', PRUNE)
        .option('--exit-code', `exit with ${EXIT.changes} where there are changes`);
    },
    async (session, options): Promise<ExitName> => {
      const { steps } = await planned(session, options);
      if (session.out.isJson) session.out.json(jsonOf(steps));
      else showPlan(session, steps);
      return options.exitCode && steps.some(isChange) ? 'changes' : 'served';
    },
  );
  addCommand<FileOptions & WaitOptions & { yes?: boolean }>(
    register,
    {
      usage: 'apply',
      group: 'Files',
      summary: 'registers and changes deployments as a file says, and waits for all rollouts',
      description: `Shows the plan, asks, and carries it out. ${SHAPE} A second apply changes nothing.`,
      examples: [
        'acm-export apply -f certificates.yaml',
        'acm-export apply -f certificates.yaml --yes --timeout 1h',
      ],
    },
    (command) => {
      command
        .requiredOption('-f, --file <file>', 'the file; - reads standard input')
        .option('--prune', PRUNE);
      addYes(command);
      addWaiting(command, '1h');
    },
    async (session, options): Promise<ExitName> => {
      const timeout = timeoutOf(options);
      const { steps, api } = await planned(session, options);
      const changes = steps.filter(isChange);
      showPlan(session, steps);
      if (changes.length > 0) {
        await confirm(
          session,
          `Apply ${changes.length === 1 ? 'this change' : `these ${changes.length} changes`}?`,
          options.yes,
        );
      }
      return applied(session, api, steps, options.wait, timeout);
    },
  );
  addCommand<{ certName?: string; schema?: string }>(
    register,
    {
      usage: 'export',
      group: 'Files',
      summary: 'prints all deployments as a file for plan and apply',
      description:
        'Prints all deployments as a file. It leaves out defaults. plan of this file shows no change.',
      examples: [
        'acm-export export > certificates.yaml',
        'acm-export export --cert-name www --schema ./deployments.schema.json',
      ],
    },
    (command) => {
      command
        .option('--cert-name <name>', 'only this name; the permission for this name is enough')
        .option(
          '--schema <file-or-url>',
          'where editors find docs/deployments.schema.json: written into the first line',
        );
    },
    async (session, { certName, schema }) => {
      const found = (await (await session.api()).deployments(certName)).filter(isStanding);
      found.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
      if (session.out.isJson) session.out.json({ Deployments: found.map(entryOf) });
      else session.out.raw(exportOf(found, schema));
      return 'served';
    },
  );
}

const isChange = ({ action }: Step): boolean => action !== 'none' && action !== 'leave';
/** So that two exports of the same deployments are the same file. */
const keyOf = (one: Deployment) =>
  [one.CertName, one.TargetTagKey, one.TargetTagValue, one.TargetAccount, one.TargetRegion].join('\n');

/** Reads the file, and only then what is registered. @throws Stop */
async function planned(session: Session, { file, prune }: FileOptions): Promise<{ steps: Step[]; api: Api }> {
  const entries = readDeployments(await textOf(session, file), file === '-' ? 'standard input' : file);
  const api = await session.api();
  return { steps: planOf(entries, await registeredFor(api, entries), prune === true), api };
}

/** Calls at once: each takes a tenth of a second, and a file may have hundreds of entries. */
const AT_ONCE = 8;

/**
 * Every deployment of the names in the file. Lists may be some seconds late, so each entry is read by its id, too: a second
 * apply right after the first one sees what that did.
 */
async function registeredFor(api: Api, entries: Entry[]): Promise<Deployment[]> {
  const found = new Map<string, Deployment>();
  const names = [...new Set(entries.map(({ order }) => order.CertName))];
  await inParallel(names, async (name) => {
    for (const one of await api.deployments(name)) found.set(one.DeploymentId, one);
  });
  await inParallel(entries, async ({ order, deploymentId }) => {
    const one = await api.find(order.CertName, deploymentId);
    if (one) found.set(deploymentId, one);
    else found.delete(deploymentId);
  });
  return [...found.values()];
}

async function inParallel<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const labelOf = ({ order }: Step) =>
  `${order.CertName}/${order.TargetTagKey}=${order.TargetTagValue} ${order.TargetAccount} ${order.TargetRegion}`;

function showPlan({ out }: Session, steps: Step[]): void {
  for (const step of steps) {
    const { action, order, fields, current } = step;
    if (action === 'create') {
      out.line(`+ ${labelOf(step)}`, 'green');
      for (const [name, value] of Object.entries(entryOf(order))) {
        if (!['CertName', 'TargetTagKey', 'TargetTagValue', 'TargetAccount', 'TargetRegion'].includes(name)) {
          out.line(`    ${name}: ${shown(value)}`);
        }
      }
    } else if (action === 'update') {
      out.line(`~ ${labelOf(step)}`, 'yellow');
      for (const { Field, From, To } of fields) {
        const moved = Field === 'CertificateArn' ? '  (moved to another certificate)' : '';
        out.line(`    ${Field}: ${shown(From)} → ${shown(To)}${moved}`);
      }
      if (current?.PausedAt)
        out.line('    It is paused: it must be resumed before it can be changed.', 'yellow');
    } else if (action === 'remove') {
      out.line(`- ${labelOf(step)}`, 'red');
      out.line('    It is not in the file: its bundle is deleted in seven days, the files on servers stay.');
    } else if (action === 'leave') {
      out.line(`  ${labelOf(step)} is not in the file and left alone: --prune removes it.`);
    }
  }
  const count = (action: Step['action']) => steps.filter((step) => step.action === action).length;
  const [created, updated, removed, same] = [
    count('create'),
    count('update'),
    count('remove'),
    count('none'),
  ];
  out.line(
    created + updated + removed === 0
      ? `No changes: ${same} as the file says.`
      : `Plan: ${created} new, ${updated} changed, ${removed} to be removed, ${same} as the file says.`,
  );
}

const shown = (value: unknown): string =>
  value === undefined ? '(default)' : Array.isArray(value) ? `[${value.join(', ')}]` : String(value);

function jsonOf(steps: Step[]) {
  return {
    HasChanges: steps.some(isChange),
    Steps: steps.map(({ action, order, deploymentId, fields }) => ({
      Action: action,
      DeploymentId: deploymentId,
      CertName: order.CertName,
      TargetTagKey: order.TargetTagKey,
      TargetTagValue: order.TargetTagValue,
      TargetAccount: order.TargetAccount,
      TargetRegion: order.TargetRegion,
      // JSON has no undefined: null is the default.
      Fields: fields.map(({ Field, From = null, To = null }) => ({ Field, From, To })),
    })),
  };
}

/**
 * Does what the plan says. An entry that is refused does not hold up the others. Deployments that the file leaves as they
 * are and that still roll out are waited for, too: an apply that was interrupted can be repeated.
 */
async function applied(
  session: Session,
  api: Api,
  steps: Step[],
  isWaiting: boolean,
  timeout: number,
): Promise<ExitName> {
  const { out, world } = session;
  const followed: Followed[] = [];
  const exits: ExitName[] = [];
  const refusals: { Place: string; Message: string }[] = [];
  // What holds for the whole stack is said once.
  const warned = new Set<string>();
  const warn = (step: Step, warnings: string[]) => {
    for (const warning of warnings.filter((one) => !warned.has(one))) {
      warned.add(warning);
      out.note(`Warning: ${labelOf(step)}: ${warning}`, 'yellow');
    }
  };
  for (const step of steps) {
    if (world.interrupted.aborted)
      throw new Stop('interrupted', 'Interrupted. Repeat the command to do the rest.');
    const { action, order, entry, current, deploymentId } = step;
    try {
      if (action === 'create' || action === 'update') {
        const started = await api.register(order.CertName, requestOf(order, current));
        warn(step, started.Warnings);
        followed.push(await followedOf(api, started));
      } else if (action === 'remove') {
        const { Warnings } = await api.remove(order.CertName, deploymentId, false);
        warn(step, Warnings);
        out.line(`${labelOf(step)} is removed.`);
      } else if (action === 'none' && current && (current.Status === 'ROLLING_OUT' || current.Pending)) {
        followed.push({ deployment: current, awaited: {} });
      }
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      exits.push(error.exit === 'usage' ? 'failed' : error.exit);
      refusals.push({
        Place: entry?.place ?? labelOf(step),
        Message: [error.message, ...error.advice].join(' '),
      });
    }
  }
  for (const { Place, Message } of refusals) out.note(`${Place}: ${Message}`, 'red');
  const Refused = refusals.length > 0 ? { Refused: refusals } : {};
  if (isWaiting && followed.length > 0) exits.push(await waitFor(session, followed, timeout, Refused));
  else if (out.isJson) out.json({ Outcome: worstOf(exits), ...jsonOf(steps), ...Refused });
  return worstOf(exits);
}
