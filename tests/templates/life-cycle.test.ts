import { describe, expect, test } from '@jest/globals';
import { centralStack, memberStack, resourceOf, resourcesOf, writtenTemplate } from './stacks.ts';

// What failed creations, updates and deletions leave. docs/operations.md, "The life of a stack", promises it to people.

const stack = centralStack();

describe('a creation that fails', () => {
  test.each([
    ['as the parameters are offered', {}],
    ['with every optional resource', { NotificationEmail: 'on-call@example.com' }],
    ['without the logging role', { ApiGatewayLoggingRole: 'existing' }],
  ])('has not made the inventory table, which comes after everything else: %s', (_how, parameters) => {
    const { resources } = centralStack(parameters);
    const before = new Set<string>();
    const visit = (id: string) =>
      resources.get(id)?.dependsOn.forEach((needed) => {
        if (before.has(needed)) return;
        before.add(needed);
        visit(needed);
      });
    visit('InventoryTable');
    expect([...resources.keys()].filter((id) => !before.has(id))).toEqual(['InventoryTable']);
  });

  test('leaves nothing under a name that the next one needs', () => {
    const kept = (of: typeof stack) =>
      [...of.resources].filter(([, { deletionPolicy = 'Delete' }]) => deletionPolicy !== 'Delete');
    // The last of them is never made then.
    expect(kept(stack).map(([id]) => id)).toEqual([
      'ApiGatewayAccount',
      'ApiGatewayLogsRole',
      'InventoryTable',
    ]);
    expect(resourceOf(stack, 'ApiGatewayLogsRole').properties.RoleName).toBeUndefined();
    expect(kept(memberStack())).toEqual([]);
  });
});

describe('an update of a stack of any edition', () => {
  const written = writtenTemplate('template.yaml').Resources;

  // Of a table, another name or key needs a replacement (CloudFormation template reference, AWS::DynamoDB::Table).
  test('keeps the inventory table as it is: its id, name, key and protection are those of the first edition', () => {
    expect(written.InventoryTable).toMatchObject({
      Type: 'AWS::DynamoDB::Table',
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        TableName: { 'Fn::Sub': '${Prefix}-inventory' },
        KeySchema: [
          { AttributeName: 'DeploymentId', KeyType: 'HASH' },
          { AttributeName: 'Item', KeyType: 'RANGE' },
        ],
        DeletionProtectionEnabled: true,
      },
    });
    expect(written.InventoryTable.Condition).toBeUndefined();
  });

  test.each([
    ['NotificationTopic', 'TopicName', '${Prefix}-notifications'],
    ['UndeliveredEventsQueue', 'QueueName', '${Prefix}-undelivered-events'],
    ['FailedEventsQueue', 'QueueName', '${Prefix}-failed-events'],
  ])('replaces no %s, and loses neither subscriptions nor messages', (id, property, name) => {
    expect(written[id].Properties[property]).toEqual({ 'Fn::Sub': name });
  });

  test('keeps the address of the API', () => {
    expect(resourcesOf(stack, 'AWS::Serverless::Api').map(([id]) => id)).toEqual(['DeploymentsApi']);
  });
});
