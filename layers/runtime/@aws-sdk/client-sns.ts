export { paginateListSubscriptionsByTopic, PublishCommand, SNSClient } from '@aws-sdk/client-sns';
