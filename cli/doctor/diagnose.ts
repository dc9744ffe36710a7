import { GetRoleCommand, IAMClient } from '@aws-sdk/client-iam';
import { paginateListSubscriptionsByTopic, SNSClient, type Subscription } from '@aws-sdk/client-sns';
import type { Target } from '../../functions/domain/order.ts';
import type { Deployment, DeploymentWithNodes } from '../answers.ts';
import { chosen, nameOf } from '../choose.ts';
import type { Session } from '../connection.ts';
import { type ExitName, Stop } from '../exit.ts';
import { tagFrom } from '../order-options.ts';
import { isStanding } from '../plan.ts';
import type { AwsSettings } from '../world.ts';
import { checkMember, isOfAccount } from './account.ts';
import { checkCertificate } from './certificate.ts';
import { type Check, Checks } from './checks.ts';
import { checkNodes } from './nodes.ts';

export interface DoctorOptions {
  certificateArn?: string;
  tag?: string;
  certName?: string;
  targetAccount?: string;
  targetRegion?: string;
  targetProfile?: string;
  prefix: string;
}

/** What is looked at: a deployment that is registered, or one that may be. */
interface Subject {
  certName?: string;
  certificateArn: string;
  target: Target;
  readers: string[];
  deployment?: Deployment;
}

/** Looks at what goes wrong most, and says what to do. Changes nothing. */
export async function diagnose(session: Session, options: DoctorOptions, names: string[]): Promise<ExitName> {
  const checks = new Checks();
  const subjects = await subjectsOf(session, options, names);
  const central = await session.world.aws(session.options.profile, session.options.region);
  const prefix = await checkCentral(session, checks, central, options.prefix);
  for (const subject of subjects) {
    await checkCertificate(checks, central, subject.certificateArn, subject.certName);
    await checkTarget(session, checks, subject, options, prefix);
    if (subject.deployment) await checkInventory(session, checks, subject.deployment);
  }
  return report(session, checks.found);
}

async function subjectsOf(session: Session, options: DoctorOptions, names: string[]): Promise<Subject[]> {
  const { certificateArn, tag, certName, targetAccount, targetRegion } = options;
  if (certificateArn !== undefined || tag !== undefined) {
    if (certificateArn === undefined || tag === undefined || names.length > 0) {
      throw new Stop('usage', 'doctor takes names, or --certificate-arn together with --tag.');
    }
    const [, , service, region, account] = certificateArn.split(':');
    if (service !== 'acm' || !region || !account) {
      throw new Stop(
        'usage',
        `--certificate-arn takes the ARN of an ACM certificate, and not "${certificateArn}".`,
      );
    }
    const target = {
      ...tagFrom(tag),
      TargetAccount: targetAccount ?? account,
      TargetRegion: targetRegion ?? region,
    };
    return [{ certificateArn, target, readers: [], ...(certName === undefined ? {} : { certName }) }];
  }
  const api = await session.api();
  const found: Deployment[] = [];
  for (const name of names) {
    const ofName = name.includes('/') ? [] : (await api.deployments(name)).filter(isStanding);
    found.push(...(ofName.length > 0 ? ofName : [await chosen(api, name)]));
  }
  const all = names.length > 0 ? found : (await api.deployments()).filter(isStanding);
  if (all.length === 0) {
    throw new Stop(
      'usage',
      'Nothing is registered yet.',
      'Look before: acm-export doctor --certificate-arn ARN --tag KEY=VALUE',
    );
  }
  return all.map((deployment) => ({
    certName: deployment.CertName,
    certificateArn: deployment.CertificateArn,
    target: deployment,
    readers: deployment.ReaderRoleArns ?? [],
    deployment,
  }));
}

/** The central stack: who is told. @returns the prefix of both stacks */
async function checkCentral(
  session: Session,
  checks: Checks,
  central: AwsSettings,
  standard: string,
): Promise<string> {
  const where = `stack ${session.options.stack}`;
  let outputs: Record<string, string>;
  try {
    outputs = await session.stackOutputs();
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    const { message, advice } = error;
    checks.unknown(
      where,
      `It was not checked who is told of failures: ${message}`,
      advice[0] ?? 'Name the stack with --stack.',
    );
    return standard;
  }
  const prefix = /ParameterKey=Prefix,ParameterValue=([^ ]+)/.exec(
    outputs.MemberAccountParameters ?? '',
  )?.[1];
  const topic = outputs.NotificationTopicArn;
  if (topic) {
    const found = await checks.asked(
      topic,
      'who is told of failures',
      `sns:ListSubscriptionsByTopic on ${topic}`,
      async () => {
        const all: Subscription[] = [];
        const pages = paginateListSubscriptionsByTopic(
          { client: new SNSClient(central) },
          { TopicArn: topic },
        );
        for await (const page of pages) all.push(...(page.Subscriptions ?? []));
        return all;
      },
      'NotFoundException',
      'NotFound',
    );
    if (Array.isArray(found)) {
      const isConfirmed = found.some(({ SubscriptionArn = '' }) => SubscriptionArn.startsWith('arn:'));
      if (isConfirmed) checks.ok(topic, 'People are told of failures.');
      else {
        checks.wrong(
          topic,
          found.length === 0
            ? 'Nobody is subscribed to the messages: failures and expiry reach no one.'
            : 'Nobody has confirmed the subscription to the messages: failures and expiry reach no one.',
          found.length === 0
            ? `aws sns subscribe --topic-arn ${topic} --protocol email --notification-endpoint ADDRESS`
            : 'Open the link in the mail of Amazon SNS, or subscribe again.',
        );
      }
    } else if (found === 'missing') {
      checks.wrong(topic, 'The topic of the messages does not exist.', 'Deploy the central stack again.');
    }
  }
  return prefix ?? standard;
}

async function checkTarget(
  session: Session,
  checks: Checks,
  { target, readers, deployment }: Subject,
  { targetProfile }: DoctorOptions,
  prefix: string,
): Promise<void> {
  const place = { account: target.TargetAccount, region: target.TargetRegion };
  const settings = await session.world.aws(targetProfile ?? session.options.profile, place.region);
  if (!(await isOfAccount(checks, settings, place))) return;
  await checks.once(`member ${place.account} ${place.region}`, () =>
    checkMember(checks, settings, place, prefix),
  );
  if (readers.length === 0) {
    await checkNodes(checks, settings, target, prefix, deployment?.ExcludeNodeIds ?? []);
    return;
  }
  const iam = new IAMClient(settings);
  for (const arn of readers) {
    const RoleName = arn.slice(arn.lastIndexOf('/') + 1);
    const found = await checks.asked(
      arn,
      'whether the reader exists',
      `iam:GetRole on ${arn}`,
      () => iam.send(new GetRoleCommand({ RoleName })),
      'NoSuchEntityException',
      'NoSuchEntity',
    );
    if (found === 'missing' || (found && found.Role?.Arn !== arn)) {
      checks.wrong(
        arn,
        'The reader does not exist.',
        'Create the role with exactly this ARN, or register the deployment without it.',
      );
    } else if (found) checks.ok(arn, 'The reader exists.');
  }
}

/** What the system itself knows: failures, and what looks at servers found. */
async function checkInventory(
  session: Session,
  checks: Checks,
  { CertName, DeploymentId }: Deployment,
): Promise<void> {
  const one: DeploymentWithNodes = await (await session.api()).deployment(CertName, DeploymentId);
  const where = nameOf(one);
  const todo = `See each server: acm-export get '${where}'. docs/operations.md says what to do for each exit code.`;
  if (one.Status === 'FAILED') {
    checks.wrong(where, `Rollouts fail: ${one.LastError ?? one.Reason}`, todo, one.FailingSince);
  } else if (one.Status === 'DEGRADED') {
    checks.wrong(
      where,
      `Not every server serves it: ${one.LastError ?? one.Reason}`,
      todo,
      one.LastRollout?.At,
    );
  } else if (one.PausedAt) {
    checks.wrong(
      where,
      'It is paused: no renewal reaches the servers.',
      `acm-export resume '${where}'`,
      one.PausedAt,
    );
  } else if (one.Status === 'INSTALLED') checks.ok(where, 'Every server has the version.');
  if (one.BundleFinding) {
    const { Kind, Since } = one.BundleFinding;
    checks.wrong(
      where,
      Kind === 'missing' ? 'Its bundle does not exist.' : 'Its bundle is scheduled for deletion.',
      Kind === 'missing'
        ? 'A rollout writes it anew: acm-export rollout.'
        : 'Register it again, which restores it.',
      Since,
    );
  }
  for (const { NodeId, Finding, Note } of one.Nodes) {
    if (Finding)
      checks.wrong(`${NodeId}, ${where}`, Finding.Text, FINDING_TODO[Finding.Kind] ?? todo, Finding.Since);
    else if (Note) checks.wrong(`${NodeId}, ${where}`, Note, 'Read docs/nodes.md on the server.');
  }
}

const FINDING_TODO: Record<string, string> = {
  silent: 'Nothing serves TLS on the port: start the server, or correct VerifyPort.',
  foreign: 'The server is configured with another certificate: point it at /etc/ssl/acm-export.',
  taken: 'Another deployment has the name on this server: remove one of them, or use --take-over.',
  unseen: 'The server did not answer the look: is its agent running?',
};

function report({ out }: Session, found: Check[]): ExitName {
  const of = (result: Check['result']) => found.filter((check) => check.result === result);
  const [wrong, unknown, ok] = [of('wrong'), of('unknown'), of('ok')];
  const exit: ExitName = wrong.length > 0 ? 'failed' : unknown.length > 0 ? 'degraded' : 'served';
  if (out.isJson) {
    out.json({
      Outcome: exit,
      Checks: found.map(({ result, what, where, since, todo }) => ({
        Result: result,
        What: what,
        Where: where,
        ...(since === undefined ? {} : { Since: since }),
        ...(todo === undefined ? {} : { Do: todo }),
      })),
    });
    return exit;
  }
  for (const { what, where } of ok) out.line(`ok       ${where}: ${what}`, 'green');
  for (const check of [...unknown, ...wrong]) {
    const { result, what, where, since, todo } = check;
    out.line(
      `${result === 'wrong' ? 'WRONG   ' : 'UNKNOWN '} ${what}`,
      result === 'wrong' ? 'red' : 'yellow',
    );
    out.paragraph(`Where: ${where}`, '         ');
    if (since) out.paragraph(`Since: ${since}`, '         ');
    if (todo) out.paragraph(`Do:    ${todo}`, '         ');
  }
  out.line(`${ok.length} fine, ${wrong.length} wrong, ${unknown.length} not checked.`);
  return exit;
}
