import type { Deployment } from './deployment.ts';

/** What a person who is woken by it needs, in this order. */
export interface Notification {
  /** One line: what happened, to what. SNS takes 100 ASCII characters. One of SUBJECTS. */
  Subject: Subject;
  What: string;
  Where: string;
  /** ISO 8601. */
  Since: string;
  WhatToDo: string;
  /** Console address, or another place where more is to be seen. */
  Link?: string | undefined;
}

declare const isSubject: unique symbol;
export type Subject = string & { readonly [isSubject]: true };

type Named = Pick<Deployment, 'CertName' | 'TargetTagKey' | 'TargetTagValue'>;
const subject = (text: string) => text as Subject;
const tagOf = ({ TargetTagKey, TargetTagValue }: Named) => `${TargetTagKey}=${TargetTagValue}`;

/** The subjects of all messages to people. docs/operations.md has an example of each. */
export const SUBJECTS = {
  rollout: (of: Named, how: string) => subject(`Rollout of ${of.CertName} ${how}: ${tagOf(of)}`),
  deletion: (of: Named) => subject(`DELETE of ${of.CertName}: ${tagOf(of)}`),
  renewal: (of: Named) => subject(`Certificate ${of.CertName} will not be renewed`),
  expiry: (of: Named, when: string, more: number) =>
    subject(`${of.CertName} ${when}: ${tagOf(of)}${more > 0 ? ` and ${more} more` : ''}`),
  finding: (of: Named, nodeId: string, what: string, more: number) =>
    subject(`${of.CertName} on ${nodeId} ${what}: ${tagOf(of)}${more > 0 ? ` and ${more} more` : ''}`),
  refusal: (of: Named, nodeId: string, more: number) =>
    subject(
      `${of.CertName} cannot be served on ${nodeId}: ${tagOf(of)}${more > 0 ? ` and ${more} more` : ''}`,
    ),
  endpoint: (nodeId: string, port: number, when: string, more: number) =>
    subject(`Unregistered certificate on ${nodeId}:${port} ${when}${more > 0 ? ` and ${more} more` : ''}`),
  refused: (place: string, more: number) =>
    subject(`No look at servers of ${place}${more > 0 ? ` and ${more} more` : ''}`),
  behind: (place: string, more: number) =>
    subject(`Old member stack in ${place}${more > 0 ? ` and ${more} more` : ''}`),
  denied: (action: string, more: number) =>
    subject(`Reconcile is denied ${action}${more > 0 ? ` and ${more} more` : ''}`),
  bundle: (of: Named, what: string, more: number) =>
    subject(`Bundle of ${of.CertName} ${what}: ${tagOf(of)}${more > 0 ? ` and ${more} more` : ''}`),
  record: (of: Named, more: number) =>
    subject(
      `Validation record of ${of.CertName} is missing: ${tagOf(of)}${more > 0 ? ` and ${more} more` : ''}`,
    ),
  readers: (of: Named) => subject(`Reader of ${of.CertName} is missing: ${tagOf(of)}`),
  notice: (of: Named, type: string) => subject(`${type}: ${of.CertName}`),
  request: (certName: string, how: string) => subject(`Certificate request of ${certName} ${how}`),
  frozen: () => subject('All rollouts are frozen'),
  thawed: () => subject('All rollouts are thawed'),
  stopped: (what: string) => subject(`Still stopped: ${what}`),
};

const DAY_MS = 24 * 60 * 60_000;

/** Whether people were told of something within a day: of what lasts they are told once a day. */
export const wasTold = (toldAt: string | undefined, now: Date): boolean =>
  toldAt !== undefined && now.getTime() - Date.parse(toldAt) < DAY_MS;

/** The entry of a table by a name that comes from an event: `constructor` is none of ours. */
export const ownOf = <T>(table: Record<string, T>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

/** A text of AWS or of a node as a sentence, so that the next sentence does not run into it. */
export const asSentence = (text: string) => text.trimEnd().replace(/[^.!?…]$/, '$&.');

/** Where the API has a deployment; of more than one, the form of all such paths. */
export function pathOf(deployments: Iterable<Pick<Deployment, 'CertName' | 'DeploymentId'>>): string {
  const paths = new Set(
    [...deployments].map(
      ({ CertName, DeploymentId }) => `/certificates/${CertName}/deployments/${DeploymentId}`,
    ),
  );
  const [path = ''] = paths;
  return paths.size === 1 ? path : '/certificates/{CertName}/deployments/{DeploymentId}';
}

/** How often people hear of what lasts. */
export const DAILY = 'You get this message once a day until it is over.';

/** A deployment as a person finds it. */
export const placeOf = (
  deployment: Pick<
    Deployment,
    'DeploymentId' | 'TargetAccount' | 'TargetRegion' | 'TargetTagKey' | 'TargetTagValue'
  >,
) =>
  `account ${deployment.TargetAccount}, Region ${deployment.TargetRegion}, servers tagged ` +
  `${deployment.TargetTagKey}=${deployment.TargetTagValue}, deployment ${deployment.DeploymentId}`;

/** Names at most ten deployments: a certificate may have thousands, and an SMS or e-mail is for people. */
export function placesOf(deployments: readonly Deployment[]): string {
  const named = deployments.slice(0, 10).map(placeOf);
  return [
    ...named,
    ...(deployments.length > 10 ? ['and more: GET /deployments lists all of them'] : []),
  ].join('; ');
}

/** Console address of an execution, in the partition's own console. */
export function executionLink(executionArn: string): string {
  const [, partition, , region] = executionArn.split(':');
  const consoles: Record<string, string> = {
    'aws-cn': 'console.amazonaws.cn',
    'aws-us-gov': 'console.amazonaws-us-gov.com',
  };
  const host = consoles[partition ?? ''] ?? 'console.aws.amazon.com';
  return `https://${host}/states/home?region=${region}#/v2/executions/details/${executionArn}`;
}
