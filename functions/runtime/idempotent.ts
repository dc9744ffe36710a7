import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { Context } from 'aws-lambda';

/** Two days: longer than EventBridge and Lambda together deliver the same event (24 h and 6 h). */
const REMEMBERED_SECONDS = 172_800;

/**
 * Makes `work` idempotent by a key: a repeated call gets the first answer. A failed call may be repeated.
 *
 * A persistence instance keeps the first configuration that it sees, so each function gets one of its own.
 *
 * @param client reads and writes the records; Powertools marks its calls as those of idempotency.
 * @param key JMESPath of the key in the event.
 * @throws IdempotencyAlreadyInProgressError while another call works on the key.
 */
export function idempotent<E extends object, R extends object>(
  client: DynamoDBClient,
  table: string,
  key: string,
  work: (event: E) => Promise<R>,
): (event: E, context: Context) => Promise<R> {
  const config = new IdempotencyConfig({ eventKeyJmesPath: key, expiresAfterSeconds: REMEMBERED_SECONDS });
  const perform = makeIdempotent((event: E) => work(event) as Promise<never>, {
    persistenceStore: new DynamoDBPersistenceLayer({ tableName: table, awsSdkV3Client: client }),
    config,
  });
  return (event, context) => {
    config.registerLambdaContext(context);
    return perform(event) as Promise<R>;
  };
}
