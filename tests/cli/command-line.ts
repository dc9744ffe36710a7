import { setTimeout as sleep } from 'node:timers/promises';
import type { Cloud, Identity } from 'local-cloud';
import { run } from '../../cli/program.ts';
import type { World } from '../../cli/world.ts';
import { CENTRAL, type Fleet } from '../../local/example-fleet.ts';
import { ScriptedNode } from '../../local/scripted-node.ts';

export interface Ran {
  code: number;
  out: string;
  err: string;
  /** Questions that were asked. */
  asked: string[];
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what it asked for
  json(): any;
}

export interface Surroundings {
  identity?: Identity;
  env?: Record<string, string>;
  /** Characters of a line of the terminal; without it, output goes to a pipe. */
  columns?: number;
  /** What a person answers; without it there is none. */
  answer?: string;
  stdin?: string;
  fetch?: World['fetch'];
  interrupted?: AbortSignal;
  /** Happens in each pause. */
  paused?: () => unknown;
  /** Real pauses, in milliseconds. The command sees its own. Default 10. */
  pause?: number;
}

/** The command in this process, as a person in the central account has it. Its pauses take ten milliseconds each. */
export async function command(fleet: Fleet, words: string[], around: Surroundings = {}): Promise<Ran> {
  const { identity = fleet.operator, env = {}, columns, answer, stdin = '' } = around;
  const texts = { out: '', err: '' };
  const asked: string[] = [];
  const sink = (name: 'out' | 'err') => ({
    write: (text: string) => {
      texts[name] += text;
    },
    ...(columns === undefined ? {} : { isTTY: true, columns, rows: 40 }),
  });
  let slept = 0;
  const code = await run(words, {
    env: { ACM_EXPORT_ENDPOINT: fleet.central.apiUrl, ...env },
    stdout: sink('out'),
    stderr: sink('err'),
    now: () => new Date(Date.now() + slept),
    sleep: async (ms) => {
      slept += ms;
      await around.paused?.();
      await sleep(around.pause ?? 10);
    },
    interrupted: around.interrupted ?? new AbortController().signal,
    fetch: around.fetch ?? fetch,
    readStdin: async () => stdin,
    aws: async (_profile, region = CENTRAL.region) => fleet.cloud.clientConfig(identity, region),
    ...(answer === undefined
      ? {}
      : {
          ask: async (question: string) => {
            asked.push(question);
            return answer;
          },
        }),
  });
  return { code, ...texts, asked, json: () => JSON.parse(texts.out) };
}

let nodes = 0;

/** A node that installs in this process, at once or when `mayAnswer` resolves. */
export function quickNode(
  cloud: Cloud,
  tag: string,
  options: Partial<Parameters<typeof ScriptedNode.create>[3]> = {},
  mayAnswer: () => Promise<void> = async () => {},
): Promise<ScriptedNode> {
  nodes += 1;
  const id = `i-${nodes.toString(16).padStart(17, '0')}`;
  return ScriptedNode.create(
    cloud,
    CENTRAL,
    id,
    { tags: { 'acm-export': tag }, ...options } as never,
    mayAnswer,
  );
}
