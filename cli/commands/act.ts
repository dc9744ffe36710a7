import type { Started } from '../answers.ts';
import { chosen, NAMING, nameOf } from '../choose.ts';
import { confirm } from '../confirm.ts';
import type { Session } from '../connection.ts';
import { type ExitName, Stop } from '../exit.ts';
import { addOrderOptions, orderFrom, tagFrom } from '../order-options.ts';
import { followedOf, waitFor } from '../wait.ts';
import { addCommand, addWaiting, addYes, type Register, timeoutOf, type WaitOptions } from './command.ts';

/** A renewal waits for ACM, which validates the domain anew. */
const RENEWAL_TIMEOUT = '2h';
const TIMEOUT = '30m';

/** Commands that change one deployment. */
export function addActCommands(register: Register): void {
  addCommand<WaitOptions & { tag: string; reset?: string; dryRun?: boolean } & Record<string, unknown>>(
    register,
    {
      usage: 'register <cert-name>',
      group: 'Act',
      summary: 'delivers a certificate to all servers with a tag, now and at each renewal; or changes that',
      description:
        'Registers a deployment, or changes one, and waits for its rollout. Name and tag say which one. A deployment that is registered keeps each setting that you leave out. To move it to another certificate, name the new ARN.',
      examples: [
        'acm-export register www --certificate-arn "$CERTIFICATE_ARN" --tag acm-export=web --reload-services nginx --verify-port 443',
        'acm-export register www --tag acm-export=web --verify-port 8443 --reset KeyGroup',
        'acm-export register www --certificate-arn "$CERTIFICATE_ARN" --tag acm-export=web',
        'acm-export register www --tag acm-export=web --dry-run',
      ],
    },
    (command) => {
      command.requiredOption('--tag <key=value>', 'tag of the servers');
      addOrderOptions(command);
      command.option('--reset <fields>', 'names of fields to set back to their default, separated by commas');
      addWaiting(command, TIMEOUT);
    },
    async (session, options, [certName = '']) => {
      const timeout = timeoutOf(options);
      const reset = (options.reset ?? '').split(',').filter(Boolean);
      const order = { ...tagFrom(options.tag), ...orderFrom(options, reset) };
      const api = await session.api();
      const started = await api.register(certName, order);
      return afterStart(session, started, options.wait, timeout, options.dryRun === true);
    },
  );
  addCommand<WaitOptions>(
    register,
    {
      usage: 'rollout <name>',
      group: 'Act',
      summary: 'starts a rollout of the current version now',
      description: `Starts a rollout and waits for it. If a rollout of this version runs already, waits for that one. A server that has the version unchanged does nothing: no hook, no reload. ${NAMING}`,
      examples: ['acm-export rollout www', 'acm-export rollout www/acm-export=web --no-wait'],
    },
    (command) => addWaiting(command, TIMEOUT),
    async (session, options, [name = '']) => {
      const timeout = timeoutOf(options);
      const api = await session.api();
      const { CertName, DeploymentId } = await chosen(api, name);
      return afterStart(session, await api.act(CertName, DeploymentId, 'rollouts'), options.wait, timeout);
    },
  );
  addCommand<WaitOptions & { yes?: boolean }>(
    register,
    {
      usage: 'renew <name>',
      group: 'Act',
      summary: 'asks ACM to renew the certificate now; AWS charges for it',
      description: `Asks ACM for a new version, and waits until the servers have it. AWS charges for it as for a new certificate. ${NAMING}`,
      examples: ['acm-export renew www', 'acm-export renew www --yes --no-wait'],
    },
    (command) => {
      addYes(command);
      addWaiting(command, RENEWAL_TIMEOUT);
    },
    async (session, options, [name = '']): Promise<ExitName> => {
      const timeout = timeoutOf(options);
      const { out } = session;
      const api = await session.api();
      const deployment = await chosen(api, name);
      const { CertName, CertificateArn } = deployment;
      const same = (await api.deployments(CertName)).filter((one) => one.CertificateArn === CertificateArn);
      await confirm(
        session,
        `ACM renews ${CertificateArn}, and each deployment of it gets the new version (${same.map(nameOf).join(', ')}). AWS charges for that as for a new certificate. Renew it?`,
        options.yes,
      );
      const { Serial, Warnings } = await api.renew(CertName, CertificateArn);
      for (const warning of Warnings) out.note(`Note: ${warning}`, 'yellow');
      if (!options.wait) {
        out.line(
          'The renewal was asked for. The rollout starts by itself when ACM has renewed the certificate.',
        );
        if (out.isJson) out.json({ Outcome: 'served', CertificateArn, Serial, Warnings });
        return 'served';
      }
      return waitFor(
        session,
        same.map((one) => ({
          deployment: one,
          awaited: { otherThan: [Serial, ...(one.LastRollout ? [one.LastRollout.Serial] : [])] },
        })),
        timeout,
      );
    },
  );
  addCommand<{ yes?: boolean; force?: boolean }>(
    register,
    {
      usage: 'remove <name>',
      group: 'Act',
      summary: 'ends a deployment: its servers keep their files and get no renewal',
      description: `Stops managing a deployment. Files on servers stay. ${NAMING}`,
      examples: ['acm-export remove www/acm-export=web', 'acm-export remove www --yes'],
    },
    (command) => {
      addYes(command);
      command.option('--force', 'even if the account of the servers is closed or refuses the calls');
    },
    async (session, { yes, force }, [name = '']) => {
      const { out } = session;
      const api = await session.api();
      const { CertName, DeploymentId } = await chosen(api, name);
      const deployment = await api.deployment(CertName, DeploymentId, true);
      const { Nodes, NextToken } = deployment;
      out.line(`${nameOf(deployment)} in ${deployment.TargetAccount} ${deployment.TargetRegion}:`);
      out.line('  - a rollout that runs is stopped');
      out.line(
        '  - its bundle in Secrets Manager is deleted in seven days; until then, registering again restores it',
      );
      const isOne = Nodes.length === 1 && !NextToken;
      out.line(
        Nodes.length === 0
          ? '  - no server has files of it'
          : `  - the files on ${Nodes.length}${NextToken ? ' and more' : ''} ${isOne ? 'server' : 'servers'} stay, and are valid until ${deployment.EarliestNotAfter}`,
      );
      out.line('  - nothing brings the next version there, and nobody is told when it expires');
      await confirm(session, `Remove ${nameOf(deployment)}?`, yes);
      const { Warnings } = await api.remove(CertName, DeploymentId, force === true);
      for (const warning of Warnings) out.note(`Warning: ${warning}`, 'yellow');
      out.line(`${nameOf(deployment)} is removed.`);
      if (out.isJson) out.json({ DeploymentId, Status: 'DELETED', Warnings });
      return 'served';
    },
  );
}

/** Says what was started, and waits for it. */
async function afterStart(
  session: Session,
  started: Started,
  wait: boolean,
  timeout: number,
  isTrial = false,
): Promise<ExitName> {
  const { out } = session;
  for (const warning of started.Warnings) out.note(`Warning: ${warning}`, 'yellow');
  const { DeploymentId, RolloutNumber: number } = started;
  if (!wait) {
    if (out.isJson) out.json({ Outcome: 'served', ...started });
    out.line(
      number === undefined
        ? 'It is registered, and starts by itself.'
        : `${isTrial ? 'Dry run' : 'Rollout'} ${number} of ${DeploymentId} is started.`,
    );
    return 'served';
  }
  const followed = await followedOf(await session.api(), started);
  if (!isTrial) return waitFor(session, [followed], timeout);
  if (number === undefined) throw new Stop('failed', 'The dry run could not be started yet.');
  return waitFor(session, [{ ...followed, awaited: { trialNumber: number } }], timeout);
}
