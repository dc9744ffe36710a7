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
      summary: 'delivers a certificate to every server with a tag, now and from now on',
      description:
        'Registers a deployment, or changes one, and waits for its rollout. A deployment that is registered keeps what is not named here.',
      examples: [
        'acm-export register www --certificate-arn "$CERTIFICATE_ARN" --tag acm-export=web --reload-services nginx --verify-port 443',
        'acm-export register www --tag acm-export=web --verify-port 8443 --reset KeyGroup',
        'acm-export register www --certificate-arn "$CERTIFICATE_ARN" --tag acm-export=web --dry-run',
      ],
    },
    (command) => {
      command.requiredOption('--tag <key=value>', 'tag of the servers');
      addOrderOptions(command);
      command.option('--reset <fields>', 'fields that get their default again, separated by commas');
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
      summary: 'installs the current version again on every server, now',
      description: `Starts a rollout and waits for it. While one of this version runs, that one is waited for. ${NAMING}`,
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
      summary: 'asks ACM to renew the certificate now, which costs money',
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
      await confirm(
        session,
        `ACM renews ${CertificateArn}. AWS charges for that as for a new certificate. Renew it?`,
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
      const same = (await api.deployments(CertName)).filter((one) => one.CertificateArn === CertificateArn);
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
      summary: 'ends a deployment: no renewal reaches its servers any more',
      description: `Stops managing a deployment. Files on servers stay. ${NAMING}`,
      examples: ['acm-export remove www/acm-export=web', 'acm-export remove www --yes'],
    },
    (command) => {
      addYes(command);
      command.option('--force', 'also where the account of the servers is closed or refuses the calls');
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
      out.line(
        `  - the files on ${Nodes.length}${NextToken ? ' and more' : ''} servers stay, and are served until ${deployment.EarliestNotAfter}`,
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
