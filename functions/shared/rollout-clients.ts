import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { SFNClient } from '@aws-sdk/client-sfn';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { Inventory } from './inventory.ts';
import { traced } from './observed.ts';
import type { RolloutDeps } from './rollout.ts';

/** The inventory over a real client. */
export function inventoryFrom(table: string): Inventory {
  const client = DynamoDBDocumentClient.from(traced(new DynamoDBClient({})), {
    marshallOptions: { removeUndefinedValues: true },
  });
  return new Inventory(client, table);
}

/** What claiming, starting and ending a rollout needs, over real clients. */
export function rolloutDepsFrom(
  env: Record<'INVENTORY_TABLE' | 'STATE_MACHINE_ARN' | 'ROLLOUTS_ENABLED', string>,
): RolloutDeps {
  return {
    rolloutsEnabled: env.ROLLOUTS_ENABLED === 'true',
    inventory: inventoryFrom(env.INVENTORY_TABLE),
    sfn: traced(new SFNClient({})),
    stateMachineArn: env.STATE_MACHINE_ARN,
    now: () => new Date(),
  };
}
