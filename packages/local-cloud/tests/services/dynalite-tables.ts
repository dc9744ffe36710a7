import { EventEmitter } from 'node:events';
import dynalite from 'dynalite';

export type Outcome = { output: Record<string, unknown> } | { error: string; message: string };

/** dynalite in this process, called without a socket. */
export class DynaliteTables {
  readonly #server = dynalite({ createTableMs: 0, deleteTableMs: 0 });

  async createTable(properties: object): Promise<void> {
    const { TableName } = properties as { TableName: string };
    await this.send('CreateTable', { ...properties, BillingMode: 'PAY_PER_REQUEST' });
    // dynalite makes a table active in a timer, even with no delay.
    while (!JSON.stringify(await this.send('DescribeTable', { TableName })).includes('"ACTIVE"'));
  }

  send(operation: string, input: object): Promise<Outcome> {
    return new Promise((resolve) => {
      const incoming = Object.assign(new EventEmitter(), {
        method: 'POST',
        url: '/',
        headers: {
          'content-type': 'application/x-amz-json-1.0',
          'x-amz-target': `DynamoDB_20120810.${operation}`,
          // dynalite looks at the form of a signature only.
          authorization: 'AWS4-HMAC-SHA256 Credential=local, SignedHeaders=local, Signature=local',
          'x-amz-date': 'local',
        },
      });
      const outgoing = {
        statusCode: 200,
        setHeader: () => {},
        end: (text: string) => {
          const body = JSON.parse(text);
          if (outgoing.statusCode === 200) return resolve({ output: body });
          const error = String(body.__type).split('#').at(-1) as string;
          resolve({ error, message: body.message ?? body.Message ?? '' });
        },
      };
      this.#server.emit('request', incoming, outgoing);
      incoming.emit('data', Buffer.from(JSON.stringify(input)));
      incoming.emit('end');
    });
  }
}
