import { paginateListSubscriptionsByTopic, type SNSClient } from '@aws-sdk/client-sns';
import { logger } from '../runtime/observability.ts';
import { countDenial } from './denials.ts';

/**
 * Warns where nobody gets the messages of this stack. A subscription that nobody has confirmed gets none; its ARN is then
 * no ARN (SNS API reference, ListSubscriptionsByTopic). What SNS does not answer is no warning, and refuses no request.
 */
export async function warnOfNoSubscriber(sns: SNSClient, topicArn: string): Promise<string[]> {
  let isAnyPending = false;
  try {
    for await (const { Subscriptions = [] } of paginateListSubscriptionsByTopic(
      { client: sns },
      { TopicArn: topicArn },
    )) {
      if (Subscriptions.some(({ SubscriptionArn = '' }) => SubscriptionArn.startsWith('arn:'))) {
        return [];
      }
      isAnyPending ||= Subscriptions.length > 0;
    }
  } catch (error) {
    logger.warn('It is not known whether anybody is subscribed', error as Error);
    countDenial(error);
    return [];
  }
  const [, , , region] = topicArn.split(':');
  const what = isAnyPending
    ? 'Nobody has confirmed a subscription to the messages of this stack'
    : 'Nobody is subscribed to the messages of this stack';
  const todo = isAnyPending ? 'Open the link in the mail of Amazon SNS, or subscribe again' : 'Subscribe';
  return [
    `${what}: nobody is told when a rollout fails or a certificate ends. ${todo}: aws sns subscribe --region ${region} ` +
      `--topic-arn ${topicArn} --protocol email --notification-endpoint ADDRESS`,
  ];
}
