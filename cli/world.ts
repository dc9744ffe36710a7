import type { Agent } from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';

/** Where lines go: a terminal, a pipe, or what a test reads. */
export interface Sink {
  write(text: string): unknown;
  isTTY?: boolean | undefined;
  columns?: number | undefined;
  rows?: number | undefined;
}

/** What a client of the SDK needs to know. */
export interface AwsSettings {
  region: string;
  // biome-ignore lint/suspicious/noExplicitAny: the SDK's own type has a form for each of its versions
  credentials: any;
  endpoint?: string;
  /** Connections of the SDK's clients. */
  requestHandler?: { httpAgent: Agent; httpsAgent: HttpsAgent };
}

/** What the command needs of the process around it. Tests hand in their own. */
export interface World {
  env: Record<string, string | undefined>;
  stdout: Sink;
  stderr: Sink;
  now(): Date;
  /** Ends early, without an error, when the person interrupts. @param ms milliseconds */
  sleep(ms: number): Promise<void>;
  /** Aborts when the person presses Ctrl-C. */
  interrupted: AbortSignal;
  fetch: typeof fetch;
  /** Asks a person; absent where there is none to answer. */
  ask?: (question: string) => Promise<string>;
  readStdin(): Promise<string>;
  /** The credentials and the Region of a profile, or of the chain. @throws Stop where there is no Region. */
  aws(profile: string | undefined, region: string | undefined): Promise<AwsSettings>;
}
