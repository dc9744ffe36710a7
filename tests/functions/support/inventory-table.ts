import { EventEmitter, once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DescribeTableCommand,
  DynamoDBClient,
} from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import dynalite from 'dynalite';
import { type Resource, resolveTemplate } from '../../../local/templates/resolve-template.ts';

/** The stack as it would be deployed; its tables are those of the tests. */
export const stack = resolveTemplate(path.resolve(import.meta.dirname, '../../../template.yaml'), {
  account: '111122223333',
  region: 'eu-central-1',
  stackName: 'acm-export',
  parameters: { ExternalId: 'only-for-these-tests' },
});

export interface Database {
  endpoint: string;
  client: DynamoDBDocumentClient;
  /** Creates an empty table of the template under a name of its own; resolves to that name. */
  createTable: (logicalId?: 'InventoryTable' | 'IdempotencyTable') => Promise<string>;
  stop: () => Promise<void>;
}

interface Outgoing {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: Uint8Array;
}

const signed = (request: Outgoing) => {
  request.headers.authorization = 'AWS4-HMAC-SHA256 Credential=local, SignedHeaders=local, Signature=local';
  request.headers['x-amz-date'] = 'local';
  return request;
};

/** Hands requests to a server without a socket: the tests make tens of thousands. */
class InProcess {
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
  }

  handle({ method, headers, path: url, body }: Outgoing): Promise<{ response: object }> {
    return new Promise((resolve) => {
      const incoming = Object.assign(new EventEmitter(), { method, headers, url });
      const answered: Record<string, string> = {};
      const outgoing = {
        statusCode: 200,
        setHeader: (name: string, value: unknown) => {
          answered[name.toLowerCase()] = String(value);
        },
        end: (text: string) => {
          const { statusCode } = outgoing;
          resolve({ response: { statusCode, headers: answered, body: Buffer.from(text) } });
        },
      };
      this.#server.emit('request', incoming, outgoing);
      incoming.emit('data', Buffer.concat([body]));
      incoming.emit('end');
    });
  }

  httpHandlerConfigs = () => ({});
  updateHttpClientConfig() {}
  destroy() {}
}

/** DynamoDB in this process, by dynalite. */
export async function startDatabase(): Promise<Database> {
  const server: Server = dynalite({ createTableMs: 0, deleteTableMs: 0 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new DynamoDBClient({
    endpoint,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    // dynalite looks at the form of a signature only.
    signer: { sign: async (request: Outgoing) => signed(request) } as never,
    requestHandler: new InProcess(server) as never,
  });
  let tables = 0;
  return {
    endpoint,
    client: DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } }),
    createTable: async (logicalId = 'InventoryTable') => {
      tables += 1;
      const resource = stack.resources.get(logicalId) as Resource;
      const { AttributeDefinitions, KeySchema, GlobalSecondaryIndexes, BillingMode } =
        resource.properties as CreateTableCommandInput;
      const TableName = `${logicalId}-${tables}`;
      await client.send(
        new CreateTableCommand({
          TableName,
          AttributeDefinitions,
          KeySchema,
          GlobalSecondaryIndexes,
          BillingMode,
        }),
      );
      // dynalite makes a table active in a timer, even with no delay.
      while ((await client.send(new DescribeTableCommand({ TableName }))).Table?.TableStatus !== 'ACTIVE');
      return TableName;
    },
    stop: async () => {
      client.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
