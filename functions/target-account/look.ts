import {
  type CommandInvocation,
  GetCommandInvocationCommand,
  paginateListCommandInvocations,
  SendCommandCommand,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import { isNamed } from '../domain/errors.ts';
import { type Look, parseLook } from '../domain/look.ts';
import type { Target } from '../domain/order.ts';
import { commandsSince } from './commands.ts';
import { type SessionStatement, targetArns } from './session.ts';

/** The most that SendCommand takes (SSM API reference). */
const NODES_A_COMMAND = 50;
/** Seconds until a node must have taken the command: one that is busy for longer is seen in the next look. */
const DELIVERY_SECONDS = 120;
/** Answers that are too long for a list are read one by one, at most so many in a look. */
const MOST_LONG_ANSWERS = 100;
/** ListCommandInvocations keeps so many characters of an answer (SSM API reference, CommandPlugin). */
const LISTED_CHARACTERS = 2500;

/** Statuses of a command on a node that has not ended there (SSM API reference, CommandInvocation). */
const GOING_ON = new Set(['Pending', 'InProgress', 'Delayed', 'Cancelling']);

/** What looking needs in an account: the one document that can only look, on any node. */
export function lookStatements(
  config: { prefix: string; partition: string },
  target: Target,
): SessionStatement[] {
  const { lookDocument, nodes } = targetArns(config, target);
  return [
    // None of these has a resource level.
    {
      Effect: 'Allow',
      Action: ['ssm:ListCommands', 'ssm:ListCommandInvocations', 'ssm:GetCommandInvocation'],
      Resource: '*',
    },
    { Effect: 'Allow', Action: ['ssm:SendCommand'], Resource: [lookDocument, ...nodes] },
  ];
}

export interface LookCalls {
  ssm: SSMClient;
  /** Awaited before each call. */
  limit: () => Promise<void>;
}

/**
 * Sends a look to nodes, 50 a command.
 *
 * @param discover whether nodes also name the ports that serve what nobody registered.
 * @returns the ids of the commands.
 */
export async function sendLook(
  documentName: string,
  nodeIds: readonly string[],
  discover: boolean,
  { ssm, limit }: LookCalls,
): Promise<string[]> {
  const sendTo = async (InstanceIds: string[]): Promise<string[]> => {
    await limit();
    try {
      const { Command } = await ssm.send(
        new SendCommandCommand({
          DocumentName: documentName,
          InstanceIds,
          Parameters: { Discover: [String(discover)] },
          TimeoutSeconds: DELIVERY_SECONDS,
          MaxConcurrency: '100%',
          MaxErrors: '100%',
        }),
      );
      return Command?.CommandId ? [Command.CommandId] : [];
    } catch (error) {
      if (!isNamed(error, 'InvalidInstanceId')) {
        throw error;
      }
      // One of them has gone since it was listed, and SSM refuses them all.
      const half = Math.ceil(InstanceIds.length / 2);
      return InstanceIds.length === 1
        ? []
        : [...(await sendTo(InstanceIds.slice(0, half))), ...(await sendTo(InstanceIds.slice(half)))];
    }
  };
  const sent: string[] = [];
  for (let start = 0; start < nodeIds.length; start += NODES_A_COMMAND) {
    sent.push(...(await sendTo(nodeIds.slice(start, start + NODES_A_COMMAND))));
  }
  return sent;
}

/** The commands of a look that was cut off before their ids were noted. */
export async function findLook(
  documentName: string,
  sentAt: string,
  { ssm, limit }: LookCalls,
): Promise<string[]> {
  await limit();
  const commands = await commandsSince(ssm, documentName, new Date(sentAt));
  return commands.flatMap(({ CommandId }) => CommandId ?? []);
}

/**
 * What nodes showed in a look: undefined for one that did not answer, or not in the script's words.
 *
 * @returns whether some nodes have not ended it.
 */
export async function readLook(
  commandIds: readonly string[],
  { ssm, limit }: LookCalls,
): Promise<{ looks: Map<string, Look | undefined>; isGoingOn: boolean }> {
  const looks = new Map<string, Look | undefined>();
  let isGoingOn = false;
  let long = 0;
  for (const CommandId of commandIds) {
    await limit();
    const pages = paginateListCommandInvocations({ client: ssm, pageSize: 50 }, { CommandId, Details: true });
    for await (const { CommandInvocations = [] } of pages) {
      for (const invocation of CommandInvocations) {
        const { InstanceId = '', Status = '' } = invocation;
        isGoingOn ||= GOING_ON.has(Status);
        const output = outputOf(invocation);
        let look = parseLook(output);
        if (!look && output.length >= LISTED_CHARACTERS - 100 && long < MOST_LONG_ANSWERS) {
          long += 1;
          await limit();
          const whole = await ssm.send(new GetCommandInvocationCommand({ CommandId, InstanceId }));
          look = parseLook(whole.StandardOutputContent ?? '');
        }
        looks.set(InstanceId, look);
      }
    }
  }
  return { looks, isGoingOn };
}

/** What the agent appends of standard error is not the script's answer. */
const outputOf = ({ CommandPlugins = [] }: CommandInvocation) =>
  CommandPlugins.map(({ Output = '' }) => Output.split('\n----------ERROR-------')[0] ?? '').join('');
