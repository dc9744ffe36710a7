import { Option } from 'commander';
import { STATUSES } from '../../functions/domain/deployment.ts';
import type { Deployment, Endpoint } from '../answers.ts';
import { chosen, chosenAll, NAMING, nameOf } from '../choose.ts';
import type { Session } from '../connection.ts';
import type { ExitName } from '../exit.ts';
import { expiringColumns, listColumns, showDeployment } from '../show.ts';
import type { Column } from '../table.ts';
import { durationOf, untilOf } from '../time.ts';
import { waitFor } from '../wait.ts';
import { addCommand, addTimeout, type Register, timeoutOf } from './command.ts';

const DAY_MS = 86_400_000;
/** No status: a deployment that is paused has one besides. */
const PAUSED = 'PAUSED';

interface Filters {
  status?: string;
  certName?: string;
  certificateArn?: string;
  account?: string;
  expiresWithin?: string;
}

/** Commands that change nothing. */
export function addLookCommands(register: Register): void {
  addCommand<Filters>(
    register,
    {
      usage: 'list',
      group: 'Look',
      summary: 'all deployments: where, in which status, and until when they are served',
      description:
        'Lists deployments: a certificate, under one name, for all servers with one tag. Filters are combined.',
      examples: [
        'acm-export list',
        'acm-export list --status FAILED --expires-within 30d',
        'acm-export list --certificate-arn "$CERTIFICATE_ARN"',
        'acm-export list --cert-name www --output json',
      ],
    },
    (command) => {
      command
        .addOption(
          new Option('--status <status>', 'only those in this status; PAUSED: those that are paused').choices(
            [...STATUSES, PAUSED],
          ),
        )
        .option('--cert-name <name>', 'only those of this name; the permission for this name is enough')
        .option('--certificate-arn <arn>', 'only those of this certificate')
        .option('--account <id>', 'only those whose servers are in this account')
        .option(
          '--expires-within <time>',
          'only those whose certificate expires within this time, for example 30d',
        );
    },
    async (session, filters) => {
      const found = await listed(session, filters, '--expires-within');
      show(
        session,
        { Deployments: found },
        listColumns(session.world.now()),
        found,
        'No deployment is listed: none is registered, or none fits.',
      );
      return 'served';
    },
  );
  addCommand(
    register,
    {
      usage: 'get <name>',
      group: 'Look',
      summary: 'one deployment: settings, status, errors, and what each server serves',
      description: `Shows one deployment with its servers. ${NAMING}`,
      examples: [
        'acm-export get www',
        'acm-export get www/acm-export=web',
        'acm-export get www --output json',
      ],
    },
    () => {},
    async (session, _options, [name = '']) => {
      const api = await session.api();
      const { CertName, DeploymentId } = await chosen(api, name);
      const deployment = await api.deployment(CertName, DeploymentId);
      if (session.out.isJson) session.out.json(deployment);
      else showDeployment(session.out, deployment, session.world.now());
      return 'served';
    },
  );
  addCommand<{ timeout: string }>(
    register,
    {
      usage: 'watch <names...>',
      group: 'Look',
      summary: 'waits until rollouts have ended, and prints the result',
      description: `Waits until no rollout of these deployments is under way. Changes nothing. ${NAMING}`,
      examples: ['acm-export watch www', 'acm-export watch www api --timeout 10m'],
    },
    (command) => addTimeout(command, '30m'),
    async (session, options, names) => {
      const timeout = timeoutOf(options);
      const deployments = await chosenAll(await session.api(), names);
      return waitFor(
        session,
        deployments.map((deployment) => ({ deployment, awaited: {} })),
        timeout,
      );
    },
  );
  addCommand<{ within: string; exitCode?: boolean }>(
    register,
    {
      usage: 'expiring',
      group: 'Look',
      summary: 'certificates that expire soon, the first to expire in front',
      description:
        'Lists deployments whose certificate expires soon on a server, and why no newer one is there.',
      examples: ['acm-export expiring', 'acm-export expiring --within 14d --exit-code'],
    },
    (command) => {
      command
        .option('--within <time>', 'how soon', '30d')
        .option('--exit-code', 'exit with 10 if something is listed');
    },
    async (session, { within, exitCode }): Promise<ExitName> => {
      const found = await listed(session, { expiresWithin: within }, '--within');
      found.sort(byExpiry);
      show(
        session,
        { Deployments: found },
        expiringColumns(session.world.now()),
        found,
        `Nothing expires within ${within}.`,
      );
      return exitCode && found.length > 0 ? 'changes' : 'served';
    },
  );
  addCommand(
    register,
    {
      usage: 'endpoints',
      group: 'Look',
      summary: 'TLS ports of your servers whose certificate nobody registered',
      description:
        'Lists TLS ports that the hourly look found on your servers. Their certificates are not registered. The first to expire is in front.',
      examples: ['acm-export endpoints', 'acm-export endpoints --unregistered --output json'],
    },
    (command) => {
      command.option('--unregistered', 'changes nothing: only these are listed');
    },
    async (session) => {
      const Endpoints = await (await session.api()).endpoints();
      const now = session.world.now();
      const columns: Column<Endpoint>[] = [
        { title: 'SERVED UNTIL', text: ({ NotAfter }) => untilOf(NotAfter, now) },
        { title: 'SERVER', text: ({ NodeId, Port }) => `${NodeId}:${Port}` },
        { title: 'ACCOUNT', text: ({ Account, Region }) => `${Account} ${Region}` },
        { title: 'SUBJECT', text: ({ Subject }) => Subject, isCut: true },
        { title: 'ISSUER', text: ({ Issuer }) => Issuer, isCut: true },
      ];
      show(session, { Endpoints }, columns, Endpoints, 'No such port was found.');
      return 'served';
    },
  );
}

/** The first to expire in front. */
const byExpiry = (a: Deployment, b: Deployment) => (a.EarliestNotAfter < b.EarliestNotAfter ? -1 : 1);

async function listed(
  session: Session,
  { status, certName, certificateArn, account, expiresWithin }: Filters,
  option: string,
): Promise<Deployment[]> {
  const within = expiresWithin === undefined ? undefined : durationOf(expiresWithin, option);
  const api = await session.api();
  // The API counts in whole days.
  const days = within === undefined ? undefined : Math.ceil(within / DAY_MS);
  const latest = new Date(session.world.now().getTime() + (within ?? 0)).toISOString();
  const found =
    certName === undefined
      ? await api.deployments(undefined, {
          ...(status === undefined ? {} : { Status: status }),
          ...(certificateArn === undefined ? {} : { CertificateArn: certificateArn }),
          ...(account === undefined ? {} : { TargetAccount: account }),
          ...(days === undefined ? {} : { ExpiresWithinDays: String(days) }),
        })
      : await api.deployments(certName);
  return found
    .filter((one) => status === undefined || (status === PAUSED ? one.PausedAt : one.Status === status))
    .filter((one) => certificateArn === undefined || one.CertificateArn === certificateArn)
    .filter((one) => account === undefined || one.TargetAccount === account)
    .filter((one) => within === undefined || one.EarliestNotAfter <= latest)
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

function show<Row>({ out }: Session, json: object, columns: Column<Row>[], rows: Row[], none: string): void {
  if (out.isJson) out.json(json);
  else if (rows.length === 0) out.note(none);
  else out.table(columns, rows);
}
