import { PublishCommand, type SNSClient } from '@aws-sdk/client-sns';
import type { Context } from 'aws-lambda';
import type { Notification } from '../domain/notification.ts';
import type { Clients } from '../runtime/clients.ts';
import type { Ignored } from '../runtime/event.ts';
import { idempotent } from '../runtime/idempotent.ts';

/** What `notifierFrom` reads: where people are told, and where it is remembered what they were told. */
export const NOTIFIER_VARIABLES = ['NOTIFICATION_TOPIC_ARN', 'IDEMPOTENCY_TABLE'] as const;

/** Sends a notification, unless one with this key was sent. */
export type Notify = (key: string, notification: Notification) => Promise<void>;

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
    await publish(sns, env.NOTIFICATION_TOPIC_ARN, message.Text);
    return { Sent: message.Key };
  };
  const sendIdempotently = idempotent(clients.dynamodb(), env.IDEMPOTENCY_TABLE, 'Key', send);
  return (context: Context): Notify =>
    async (key, notification) => {
      await sendIdempotently({ Key: key, Text: notification }, context);
    };
}

/** Sends a notification to the topic. */
async function publish(sns: SNSClient, topicArn: string, notification: Notification): Promise<void> {
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
export type Report = { Reported: string } | Ignored;
