import { type Command, paginateListCommands, type SSMClient } from '@aws-sdk/client-ssm';
import { timestamp } from '../domain/deployment.ts';

/** The commands of a document that were sent since a moment, the oldest first. */
export async function commandsSince(ssm: SSMClient, documentName: string, since: Date): Promise<Command[]> {
  const found: Command[] = [];
  // In whole seconds, and the first command may have followed within the same one.
  const before = timestamp(new Date(since.getTime() - 1000));
  const Filters = [
    { key: 'DocumentName' as const, value: documentName },
    { key: 'InvokedAfter' as const, value: before },
  ];
  for await (const { Commands = [] } of paginateListCommands({ client: ssm, pageSize: 50 }, { Filters })) {
    found.push(...Commands);
  }
  const sentAt = ({ RequestedDateTime }: Command) => RequestedDateTime?.getTime() ?? 0;
  return found.toSorted((a, b) => sentAt(a) - sentAt(b));
}
