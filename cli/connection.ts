import { Api } from './api.ts';
import { Stop } from './exit.ts';
import { Output } from './output.ts';
import type { World } from './world.ts';

/** Options that every command takes. Each has an environment variable, for pipelines. */
export interface CommonOptions {
  stack: string;
  region?: string;
  profile?: string;
  endpoint?: string;
  output: 'table' | 'json';
}

/** What a command works with: the API is looked for when it is first asked. */
export class Session {
  readonly world: World;
  readonly options: CommonOptions;
  readonly out: Output;
  #api: Promise<Api> | undefined;
  #outputs: Promise<Record<string, string>> | undefined;

  constructor(world: World, options: CommonOptions) {
    this.world = world;
    this.options = options;
    this.out = new Output(world, options.output);
  }

  /** @throws Stop */
  api(): Promise<Api> {
    this.#api ??= this.#connect();
    return this.#api;
  }

  async #connect(): Promise<Api> {
    const { endpoint, profile, region } = this.options;
    if (endpoint !== undefined) {
      const url = URL.parse(endpoint);
      if (!url || !/^https?:$/.test(url.protocol)) {
        throw new Stop('usage', `--endpoint takes the URL of the API, and not "${endpoint}".`);
      }
      const ofHost = /\.execute-api\.([a-z0-9-]+)\.amazonaws\./.exec(url.hostname)?.[1];
      return new Api(endpoint, await this.world.aws(profile, ofHost ?? region), this.world, profile);
    }
    const settings = await this.world.aws(profile, region);
    const { DeploymentsApiUrl } = await this.stackOutputs();
    if (!DeploymentsApiUrl) {
      throw new Stop(
        'failed',
        `The stack ${this.options.stack} in ${settings.region} has no output DeploymentsApiUrl: it is no central stack of acm-export.`,
        'Name the central stack with --stack.',
      );
    }
    return new Api(DeploymentsApiUrl, settings, this.world, profile);
  }

  /** Outputs of the central stack. @throws Stop */
  stackOutputs(): Promise<Record<string, string>> {
    this.#outputs ??= this.#readOutputs();
    return this.#outputs;
  }

  async #readOutputs(): Promise<Record<string, string>> {
    const { stack, profile, region } = this.options;
    const settings = await this.world.aws(profile, region);
    // Loaded here: not every command needs a client of CloudFormation, and each would start later for it.
    const { readOutputs } = await import('./stack-outputs.ts');
    return readOutputs(settings, stack, profile);
  }
}
