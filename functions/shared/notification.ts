import { PublishCommand, type SNSClient } from '@aws-sdk/client-sns';
import type { Context } from 'aws-lambda';
import type { Clients } from './clients.ts';
import type { Deployment } from './deployment.ts';
import { logger } from './observed.ts';
import { once } from './once.ts';

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

/** What `notifierFrom` reads: where people are told, and where it is remembered what they were told. */
export const NOTIFIER_VARIABLES = ['NOTIFICATION_TOPIC_ARN', 'IDEMPOTENCY_TABLE'] as const;

/**
 * Returns a function that sends a notification to the topic, unless one with the same key was sent within two days. One
 * that could not be sent may be repeated.
 */
export function notifierFrom(
  env: Record<(typeof NOTIFIER_VARIABLES)[number], string>,
  clients: Pick<Clients, 'dynamodb' | 'sns'>,
) {
  const sns = clients.sns();
  const send = async (message: { Key: string; Text: Notification }) => {
    await notify(sns, env.NOTIFICATION_TOPIC_ARN, message.Text);
    return { Sent: message.Key };
  };
  const sendOnce = once(clients.dynamodb(), env.IDEMPOTENCY_TABLE, 'Key', send);
  return (context: Context) => async (key: string, notification: Notification) => {
    await sendOnce({ Key: key, Text: notification }, context);
  };
}

/** Sends a notification to the topic. */
export async function notify(sns: SNSClient, topicArn: string, notification: Notification): Promise<void> {
  const { Subject, What, Where, Since, WhatToDo, Link } = notification;
  const lines = [
    `What: ${What}`,
    `Where: ${Where}`,
    `Since: ${Since}`,
    `What to do: ${WhatToDo}`,
    ...(Link ? [`More: ${Link}`] : []),
  ];
  await sns.send(
    new PublishCommand({
      TopicArn: topicArn,
      Subject: Subject.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 100),
      Message: lines.join('\n\n'),
    }),
  );
}

/** What people were told about, or why they were not. */
export type Report = { Reported: string } | { Ignored: string };

/** The reason is cut, as a foreign event may be large. */
export function ignore(reason: string): Report {
  const Ignored = reason.slice(0, 500);
  logger.info('Ignored', { Reason: Ignored });
  return { Ignored };
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
