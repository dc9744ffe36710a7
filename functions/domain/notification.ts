import type { Deployment } from './deployment.ts';

/** What a person who is woken by it needs, in this order. */
export interface Notification {
  /** One line: what happened, to what. SNS takes 100 ASCII characters. */
  Subject: string;
  What: string;
  Where: string;
  /** ISO 8601. */
  Since: string;
  WhatToDo: string;
  /** Console address, or another place where more is to be seen. */
  Link?: string | undefined;
}

/** The entry of a table by a name that comes from an event: `constructor` is none of ours. */
export const ownOf = <T>(table: Record<string, T>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

/** A deployment as a person finds it. */
export const placeOf = (deployment: Deployment) =>
  `account ${deployment.TargetAccount}, Region ${deployment.TargetRegion}, nodes tagged ` +
  `${deployment.TargetTagKey}=${deployment.TargetTagValue}, deployment ${deployment.DeploymentId}`;

/** Names at most ten deployments: a certificate may have thousands, and an SMS or e-mail is for people. */
export function placesOf(deployments: readonly Deployment[]): string {
  const named = deployments.slice(0, 10).map(placeOf);
  return [...named, ...(deployments.length > 10 ? ['and more: GET /deployments has them all'] : [])].join(
    '; ',
  );
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
