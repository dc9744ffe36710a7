import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { AgentAnswer, Cloud, CloudNode, NodeAgent } from 'local-cloud';
import { OWN_FAULTS } from '../functions/domain/exit-codes.ts';
import { INSTALL_OPTIONS } from '../functions/domain/order.ts';

export interface Installed {
  DeploymentId: string;
  VersionId: string;
  Serial: string;
  NotAfter: string;
  RolloutNumber: number;
  VerifyPort: string;
  options: string;
}

/** How a node came to differ from what was installed: in its files, or in what its port serves. */
export type Drift = 'older' | 'missing' | 'damaged' | 'foreign' | PortFault;
type PortFault = 'silent' | 'closed' | 'no-tls';

/** A port that serves a certificate which nobody registered. */
export interface ServedEndpoint {
  Port: number;
  Serial: string;
  NotAfter: string;
  Issuer: string;
  Subject: string;
}

/** Certificates that no test issues: of a version before, and of another tool. */
const OLDER = { Serial: '0a', NotAfter: '2026-01-01T00:00:00Z' };
const FOREIGN = { Serial: '0f', NotAfter: '2030-01-01T00:00:00Z' };
const NONE = { Serial: '-', NotAfter: '-' };

/** Exit codes of the install script. */
const LEFT_OUT = 15;
const BUNDLE_DENIED = 20;
const KEY_MISMATCH = 44;

/** A fault of the node itself ends as a success, but at the canary. */
const exitCodeOfOwnFault = (code: number, { AfterCanary, DryRun }: Record<string, string>): number =>
  AfterCanary === 'true' || DryRun === 'true' ? 0 : code;

const isOfPort = (drift: Drift | undefined): boolean =>
  drift !== undefined && ['foreign', 'silent', 'closed', 'no-tls'].includes(drift);

interface Scripted {
  tags?: Record<string, string>;
  online?: boolean;
  /** False: stopped or terminated, so that Systems Manager does not list it. */
  listed?: boolean;
  platform?: 'Linux' | 'Windows';
  agent?: string;
  behaviour?: 'installs' | 'failed' | 'rolled-back' | 'silent';
  /** With which exit code it fails. Default: that key and certificate differ. */
  exitCode?: number;
  note?: string;
}

/** A managed node whose scripts are this class: it does what the test says. */
export class ScriptedNode {
  readonly NodeId: string;
  /** What an install does here; `silent` prints no result line. */
  behaviour: NonNullable<Scripted['behaviour']>;
  /** With which exit code it fails, unless it cannot read the bundle. */
  exitCode: number;
  /** What the script says with every result. */
  note: string | undefined;
  /** The last install. */
  installed: Installed | undefined;
  /** Says something else than the install script would. */
  says: ((parameters: Record<string, string>) => AgentAnswer) | undefined;
  /** Says something else than the look script would: forged, cut, huge. */
  saysOnLook: ((parameters: Record<string, string>) => AgentAnswer) | undefined;
  /** By CertName. An install mends files, and with Heal the port too. */
  readonly drift = new Map<string, Drift>();
  /** What a look discovers beside the certificates. */
  endpoints: ServedEndpoint[] = [];
  readonly #certificates = new Map<string, Installed>();
  readonly #cloud: Cloud;
  readonly #node: CloudNode;

  private constructor(
    cloud: Cloud,
    node: CloudNode,
    { behaviour = 'installs', exitCode = KEY_MISMATCH, note }: Scripted,
  ) {
    this.NodeId = node.id;
    this.behaviour = behaviour;
    this.exitCode = exitCode;
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
    const agent: NodeAgent = async ({ document, parameters: lists }) => {
      await mayAnswer();
      const parameters = Object.fromEntries(
        Object.entries(lists).map(([name, values]) => [name, values.join(',')]),
      );
      const node = created as ScriptedNode;
      return document.endsWith('-look-at-node') ? node.#look(parameters) : node.#install(parameters);
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

  /** Of its role alone: without the node's tag it cannot read the bundle. */
  set roleTags(tags: Record<string, string>) {
    this.#node.setRoleTags(tags);
  }

  set agent(version: string) {
    this.#node.spec.agentVersion = version;
  }

  /** The install script in a few lines: it reads the bundle as the node's role, and reports in one line. */
  async #install(parameters: Record<string, string>): Promise<AgentAnswer> {
    if (this.says) return this.says(parameters);
    const { CertName = '', VersionId = '', DeploymentId = '', RolloutNumber = '0', SecretArn } = parameters;
    const { VerifyPort = '0', Heal, ExcludeNodeIds = '' } = parameters;
    if (ExcludeNodeIds.split(' ').includes(this.NodeId.replace('i-', ''))) return this.#leftOut(parameters);
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
    const { Serial, NotAfter } = JSON.parse(bundle?.SecretString ?? '{}');
    const options = Object.keys(INSTALL_OPTIONS)
      .flatMap((name) => (parameters[name] ? [`${name}=${parameters[name]}`] : []))
      .join(' ');
    const last = this.#certificates.get(CertName);
    const before = last?.DeploymentId === DeploymentId ? last : undefined;
    const isOld = number < (before?.RolloutNumber ?? 0);
    const drift = this.drift.get(CertName);
    const mends = drift !== undefined && (!isOfPort(drift) || Heal === 'true');
    const same = before?.VersionId === VersionId && before.options === options && !mends;
    const failure = !bundle ? 'failed' : this.behaviour === 'installs' ? undefined : this.behaviour;
    const Outcome = failure ?? (isOld ? 'failed' : same ? 'unchanged' : 'installed');
    const succeeded = Outcome === 'installed' || Outcome === 'unchanged';
    const dryRun = parameters.DryRun === 'true';
    if (succeeded && !dryRun) {
      this.installed = {
        DeploymentId,
        VersionId,
        Serial,
        NotAfter,
        RolloutNumber: number,
        VerifyPort,
        options,
      };
      this.#certificates.set(CertName, this.installed);
      if (Outcome === 'installed') this.drift.delete(CertName);
    }
    const asksPort = VerifyPort !== '0' && (Outcome === 'installed' || Heal === 'true');
    const ExitCode = succeeded ? 0 : bundle ? this.exitCode : BUNDLE_DENIED;
    const said = bundle
      ? { Step: 'verify-pair', Error: `${this.NodeId} is broken` }
      : { Step: 'read-bundle', Error: `the role of ${this.NodeId} may not read the bundle` };
    const isOwn = Outcome === 'failed' && ExitCode in OWN_FAULTS;
    const line = {
      Outcome: dryRun && succeeded ? 'dry-run-passed' : Outcome,
      ExitCode,
      DeploymentId,
      RolloutNumber: number,
      ...(succeeded ? { Serial, VersionId, Seen: asksPort ? 'port' : 'files' } : said),
      ...(this.note ? { Note: this.note } : {}),
    };
    return {
      stdout: Outcome === 'silent' ? '' : `${JSON.stringify(line)}\n`,
      exitCode: isOwn ? exitCodeOfOwnFault(ExitCode, parameters) : ExitCode,
    };
  }

  /** One that the order leaves out changes nothing, and says so. */
  #leftOut(parameters: Record<string, string>): AgentAnswer {
    const { DeploymentId, RolloutNumber } = parameters;
    const line = {
      Outcome: 'failed',
      ExitCode: LEFT_OUT,
      DeploymentId,
      RolloutNumber: Number(RolloutNumber),
      Step: 'check-parameters',
      Error: 'the deployment leaves this node out',
    };
    return { stdout: `${JSON.stringify(line)}\n`, exitCode: exitCodeOfOwnFault(LEFT_OUT, parameters) };
  }

  /** The look script in a few lines. */
  #look(parameters: Record<string, string>): AgentAnswer {
    if (this.saysOnLook) return this.saysOnLook(parameters);
    const certificates = [...this.#certificates.keys()].sort().map((name) => this.#certificateLine(name));
    const endpoints = (parameters.Discover === 'false' ? [] : this.endpoints).map(
      ({ Port, Serial, NotAfter, Issuer, Subject }) => ['endpoint', Port, Serial, NotAfter, Issuer, Subject],
    );
    const lines = [...certificates, ...endpoints, ['end', certificates.length, endpoints.length]];
    return { stdout: lines.map((fields) => `${fields.join('\t')}\n`).join(''), exitCode: 0 };
  }

  #certificateLine(name: string): (string | number)[] {
    const installed = this.#certificates.get(name) as Installed;
    const { DeploymentId, RolloutNumber, VerifyPort } = installed;
    const drift = this.drift.get(name);
    const files = drift === 'older' ? OLDER : drift === 'missing' ? NONE : installed;
    const state = drift === 'missing' ? drift : drift === 'damaged' ? 'damaged:sums' : 'ok';
    const served = drift === 'older' ? OLDER : drift === 'foreign' ? FOREIGN : installed;
    const says = drift !== 'foreign' && isOfPort(drift) ? drift : `${served.Serial}=${served.NotAfter}`;
    const port = VerifyPort === '0' ? '-' : `${VerifyPort}=${says}`;
    return ['certificate', name, DeploymentId, RolloutNumber, files.Serial, files.NotAfter, state, port];
  }
}
