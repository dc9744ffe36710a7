import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { AgentAnswer, Cloud, CloudNode, NodeAgent } from 'local-cloud';
import { INSTALL_OPTIONS } from '../functions/domain/order.ts';

export interface Installed {
  DeploymentId: string;
  VersionId: string;
  Serial: string;
  RolloutNumber: number;
  options: string;
}

interface Scripted {
  tags?: Record<string, string>;
  online?: boolean;
  /** False: stopped or terminated, so that Systems Manager does not list it. */
  listed?: boolean;
  platform?: 'Linux' | 'Windows';
  agent?: string;
  behaviour?: 'installs' | 'failed' | 'rolled-back' | 'silent';
  note?: string;
}

/** A managed node whose install script is this class: it does what the test says. */
export class ScriptedNode {
  readonly NodeId: string;
  /** What an install does here; `silent` prints no result line. */
  behaviour: NonNullable<Scripted['behaviour']>;
  /** What the script says with every result. */
  note: string | undefined;
  installed: Installed | undefined;
  /** Says something else than the script would. */
  says: ((parameters: Record<string, string>) => AgentAnswer) | undefined;
  readonly #cloud: Cloud;
  readonly #node: CloudNode;

  private constructor(cloud: Cloud, node: CloudNode, { behaviour = 'installs', note }: Scripted) {
    this.NodeId = node.id;
    this.behaviour = behaviour;
    this.note = note;
    this.#cloud = cloud;
    this.#node = node;
  }

  /** @param mayAnswer holds every command back until it resolves. */
  static async create(
    cloud: Cloud,
    place: { account: string; region: string },
    id: string,
    options: Scripted,
    mayAnswer: () => Promise<void>,
  ): Promise<ScriptedNode> {
    let created: ScriptedNode | undefined;
    const agent: NodeAgent = async ({ parameters }) => {
      await mayAnswer();
      return (created as ScriptedNode).#run(
        Object.fromEntries(Object.entries(parameters).map(([name, values]) => [name, values.join(',')])),
      );
    };
    const { tags = { 'acm-export': 'web' }, online, platform, agent: agentVersion } = options;
    const node = await cloud.createNode(place.account, place.region, {
      id: id as CloudNode['id'],
      tags,
      agent,
      ...(online === undefined ? {} : { online }),
      ...(platform === undefined ? {} : { platform }),
      ...(agentVersion === undefined ? {} : { agentVersion }),
    });
    created = new ScriptedNode(cloud, node, options);
    if (options.listed === false) created.listed = false;
    return created;
  }

  set online(online: boolean) {
    this.#node.setOnline(online);
  }

  set listed(listed: boolean) {
    this.#node.setListed(listed);
  }

  /** Of the node and of its role. */
  set tags(tags: Record<string, string>) {
    this.#node.setTags(tags);
    this.#node.setRoleTags(tags);
  }

  set agent(version: string) {
    this.#node.spec.agentVersion = version;
  }

  /** The install script in a few lines: it reads the bundle as the node's role, and reports in one line. */
  async #run(parameters: Record<string, string>): Promise<AgentAnswer> {
    if (this.says) return this.says(parameters);
    const { VersionId = '', DeploymentId = '', RolloutNumber = '0', SecretArn } = parameters;
    const number = Number(RolloutNumber);
    const { account: _, region } = this.#node;
    const secrets = this.#cloud.client(SecretsManagerClient, {
      region,
      credentials: this.#node.identity().credentials,
      maxAttempts: 1,
    });
    const bundle = await secrets
      .send(new GetSecretValueCommand({ SecretId: SecretArn, VersionId }))
      .catch(() => undefined);
    const { Serial } = JSON.parse(bundle?.SecretString ?? '{}');
    const options = Object.keys(INSTALL_OPTIONS)
      .flatMap((name) => (parameters[name] ? [`${name}=${parameters[name]}`] : []))
      .join(' ');
    const before = this.installed?.DeploymentId === DeploymentId ? this.installed : undefined;
    const isOld = number < (before?.RolloutNumber ?? 0);
    const same = before?.VersionId === VersionId && before.options === options;
    const failure = !bundle ? 'failed' : this.behaviour === 'installs' ? undefined : this.behaviour;
    const Outcome = failure ?? (isOld ? 'failed' : same ? 'unchanged' : 'installed');
    const succeeded = Outcome === 'installed' || Outcome === 'unchanged';
    const dryRun = parameters.DryRun === 'true';
    if (succeeded && !dryRun) {
      this.installed = { DeploymentId, VersionId, Serial, RolloutNumber: number, options };
    }
    const line = {
      Outcome: dryRun && succeeded ? 'dry-run-passed' : Outcome,
      ExitCode: succeeded ? 0 : 14,
      DeploymentId,
      RolloutNumber: number,
      ...(succeeded ? { Serial, VersionId } : { Step: 'verify-pair', Error: `${this.NodeId} is broken` }),
      ...(this.note ? { Note: this.note } : {}),
    };
    return {
      stdout: Outcome === 'silent' ? '' : `${JSON.stringify(line)}\n`,
      exitCode: succeeded ? 0 : 1,
    };
  }
}
