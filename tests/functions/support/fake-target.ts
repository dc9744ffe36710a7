import { randomUUID } from 'node:crypto';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SSMClient } from '@aws-sdk/client-ssm';
import type { SessionStatement, TargetClients } from '../../../functions/shared/target-account.ts';
import { awsError, FakeService } from './fake-service.ts';

export interface FakeNode {
  NodeId: string;
  tags: Record<string, string>;
  online: boolean;
  /** False: stopped or terminated, so that Systems Manager does not list it. */
  listed: boolean;
  platform: string;
  agent: string;
  /** What an install does there; `silent` prints no result line. */
  behaviour: 'installs' | 'failed' | 'rolled-back' | 'silent';
  /** What its script says beside every result. */
  note?: string;
  installed?: {
    DeploymentId: string;
    VersionId: string;
    Serial: string;
    RolloutNumber: number;
    options: string;
  };
}

interface Secret {
  ARN: string;
  Tags: { Key: string; Value: string }[];
  policy?: string;
  versions: Map<string, string>;
  stages: Map<string, string>;
  deleted?: Date;
}

/** Secrets of one account and Region, without their values' encryption. */
export class FakeSecretsManager extends FakeService {
  readonly secrets = new Map<string, Secret>();

  GetRandomPassword({ PasswordLength }: { PasswordLength: number }) {
    return { RandomPassword: 'x'.repeat(PasswordLength) };
  }

  DescribeSecret({ SecretId }: { SecretId: string }) {
    const { ARN, Tags, stages, deleted } = this.#find(SecretId, true);
    // Only versions that carry a label are shown; others are deprecated, and may be deleted.
    const VersionIdsToStages: Record<string, string[]> = {};
    for (const [stage, id] of stages) {
      VersionIdsToStages[id] = [...(VersionIdsToStages[id] ?? []), stage];
    }
    return { ARN, Tags, VersionIdsToStages, ...(deleted ? { DeletedDate: deleted } : {}) };
  }

  CreateSecret({ Name, Tags = [] }: { Name: string; Tags?: Secret['Tags'] }) {
    if (this.secrets.has(Name)) {
      throw awsError('ResourceExistsException', `The operation failed because the secret ${Name} exists.`);
    }
    const ARN = `arn:aws:secretsmanager:eu-central-1:444455556666:secret:${Name}-AbCdEf`;
    this.secrets.set(Name, { ARN, Tags, versions: new Map(), stages: new Map() });
    return { ARN, Name };
  }

  TagResource({ SecretId, Tags }: { SecretId: string; Tags: Secret['Tags'] }) {
    const secret = this.#find(SecretId);
    const keys = new Set(Tags.map((tag) => tag.Key));
    secret.Tags = [...secret.Tags.filter((tag) => !keys.has(tag.Key)), ...Tags];
    return {};
  }

  PutResourcePolicy({ SecretId, ResourcePolicy }: { SecretId: string; ResourcePolicy: string }) {
    this.#find(SecretId).policy = ResourcePolicy;
    return {};
  }

  PutSecretValue(input: { SecretId: string; ClientRequestToken: string; SecretString: string }) {
    const { versions, stages } = this.#find(input.SecretId);
    const { ClientRequestToken: id, SecretString: value } = input;
    if ((versions.get(id) ?? value) !== value) {
      throw awsError('ResourceExistsException', 'You cannot use the same ClientRequestToken twice.');
    }
    versions.set(id, value);
    const current = stages.get('AWSCURRENT');
    if (current && current !== id) {
      stages.set('AWSPREVIOUS', current);
    }
    stages.set('AWSCURRENT', id);
    return { VersionId: id };
  }

  UpdateSecretVersionStage(input: {
    SecretId: string;
    VersionStage: string;
    MoveToVersionId: string;
    RemoveFromVersionId?: string;
  }) {
    const { stages } = this.#find(input.SecretId);
    const holder = stages.get(input.VersionStage);
    if (holder !== input.RemoveFromVersionId) {
      throw awsError('InvalidParameterException', `The staging label is attached to ${holder}.`);
    }
    // The version that loses AWSCURRENT becomes AWSPREVIOUS.
    if (input.VersionStage === 'AWSCURRENT' && holder) {
      stages.set('AWSPREVIOUS', holder);
    }
    stages.set(input.VersionStage, input.MoveToVersionId);
    return {};
  }

  DeleteSecret({ SecretId }: { SecretId: string }) {
    this.#find(SecretId).deleted = new Date(0);
    return {};
  }

  RestoreSecret({ SecretId }: { SecretId: string }) {
    delete this.#find(SecretId, true).deleted;
    return {};
  }

  #find(id: string, evenDeleted = false): Secret {
    const secret = [...this.secrets].find(([name, { ARN }]) => name === id || ARN === id)?.[1];
    if (!secret) {
      throw awsError('ResourceNotFoundException', `Secrets Manager can't find the specified secret.`);
    }
    if (secret.deleted && !evenDeleted) {
      throw awsError('InvalidRequestException', 'The secret was marked for deletion.');
    }
    return secret;
  }
}

type Parameters = Record<string, string>;

interface Automation {
  AutomationExecutionId: string;
  AutomationExecutionStatus: string;
  parameters: Parameters;
  token: string;
  FailureMessage?: string;
  commands: { CommandId: string; invocations: object[] }[];
}

/** Managed nodes and Automations of one account and Region. */
export class FakeSsm extends FakeService {
  readonly nodes: FakeNode[] = [];
  readonly automations = new Map<string, Automation>();
  /** The parameters that the fleet document knows; absent: whatever is given. */
  documentParameters?: string[];
  readonly #secrets: FakeSecretsManager;

  constructor(secrets: FakeSecretsManager) {
    super();
    this.#secrets = secrets;
  }

  addNode(NodeId: string, node: Partial<FakeNode> = {}): FakeNode {
    const added: FakeNode = {
      NodeId,
      tags: { 'acm-export': 'web' },
      online: true,
      listed: true,
      platform: 'Linux',
      agent: '3.3.3000.0',
      behaviour: 'installs',
      ...node,
    };
    this.nodes.push(added);
    return added;
  }

  /** Runs an Automation that is in progress here, as the documents would: the canary, then everybody. */
  runAutomation(id: string): void {
    const automation = this.automations.get(id);
    if (automation?.AutomationExecutionStatus !== 'InProgress') {
      return;
    }
    const { CanaryNodeId, TargetTagKey = '', TargetTagValue = '' } = automation.parameters;
    const targets = this.nodes.filter(
      (node) =>
        node.listed && node.online && node.platform === 'Linux' && node.tags[TargetTagKey] === TargetTagValue,
    );
    const canary = targets.filter((node) => node.NodeId === CanaryNodeId);
    const first = this.#runCommand(automation, canary);
    const succeeded = first && this.#runCommand(automation, targets);
    automation.AutomationExecutionStatus = succeeded ? 'Success' : 'Failed';
    automation.FailureMessage = succeeded ? '' : 'Step fails when it is Poll action status for completion.';
  }

  #runCommand(automation: Automation, nodes: FakeNode[]): boolean {
    const CommandId = `${automation.AutomationExecutionId}-${automation.commands.length}`;
    const invocations = nodes.map((node) => this.#install(node, automation.parameters));
    automation.commands.push({ CommandId, invocations });
    return invocations.every(({ Status }) => Status === 'Success');
  }

  #install(node: FakeNode, parameters: Parameters) {
    const { VersionId = '', DeploymentId = '', RolloutNumber = '0', SecretArn } = parameters;
    const number = Number(RolloutNumber);
    const secret = [...this.#secrets.secrets.values()].find(({ ARN }) => ARN === SecretArn);
    const { Serial = '' } = JSON.parse(secret?.versions.get(VersionId) ?? '{}');
    const { ReloadServices = '', RestartServices, VerifyPort = '', KeyFormat = '' } = parameters;
    const options = [ReloadServices, VerifyPort, KeyFormat, RestartServices ?? []].flat().join('|');
    const before = node.installed?.DeploymentId === DeploymentId ? node.installed : undefined;
    const isOld = number < (before?.RolloutNumber ?? 0);
    const same = before?.VersionId === VersionId && before.options === options;
    const failure = node.behaviour === 'installs' ? undefined : node.behaviour;
    const Outcome = failure ?? (isOld ? 'failed' : same ? 'unchanged' : 'installed');
    const succeeded = Outcome === 'installed' || Outcome === 'unchanged';
    const dryRun = parameters.DryRun === 'true';
    if (succeeded && !dryRun) {
      node.installed = { DeploymentId, VersionId, Serial, RolloutNumber: number, options };
    }
    const line = {
      Outcome: dryRun && succeeded ? 'dry-run-passed' : Outcome,
      ExitCode: succeeded ? 0 : 14,
      DeploymentId,
      RolloutNumber: number,
      ...(succeeded ? { Serial, VersionId } : { Step: 'verify-pair', Error: `${node.NodeId} is broken` }),
      ...(node.note ? { Note: node.note } : {}),
    };
    return {
      InstanceId: node.NodeId,
      Status: succeeded ? 'Success' : 'Failed',
      StatusDetails: succeeded ? 'Success' : 'Failed',
      CommandPlugins: [{ Output: Outcome === 'silent' ? '' : `${JSON.stringify(line)}\n` }],
    };
  }

  DescribeInstanceInformation(input: {
    Filters: { Key: string; Values: string[] }[];
    MaxResults?: number;
    NextToken?: string;
  }) {
    const [{ Key, Values }] = input.Filters as [{ Key: string; Values: string[] }];
    const matching = this.nodes.filter(
      (node) => node.listed && Values.includes(node.tags[Key.replace(/^tag:/, '')] ?? ''),
    );
    const { items, NextToken } = pageOf(matching, input);
    return {
      InstanceInformationList: items.map((node) => ({
        InstanceId: node.NodeId,
        PingStatus: node.online ? 'Online' : 'ConnectionLost',
        PlatformType: node.platform,
        AgentVersion: node.agent,
        LastPingDateTime: new Date('2026-11-24T10:00:00Z'),
      })),
      NextToken,
    };
  }

  StartAutomationExecution(input: { ClientToken: string; Parameters: Record<string, string[]> }) {
    const entries = Object.entries(input.Parameters).map(([name, [value = '']]) => [name, value] as const);
    const parameters = Object.fromEntries(entries);
    const unknown = Object.keys(parameters).filter(
      (name) => this.documentParameters?.includes(name) === false,
    );
    if (unknown.length > 0) {
      throw awsError(
        'InvalidAutomationExecutionParametersException',
        `Parameters not in the document: ${unknown.join(', ')}`,
      );
    }
    const known = [...this.automations.values()].find(({ token }) => token === input.ClientToken);
    if (known && JSON.stringify(known.parameters) !== JSON.stringify(parameters)) {
      throw awsError('IdempotentParameterMismatch', 'The token was used with other parameters.');
    }
    const AutomationExecutionId = known?.AutomationExecutionId ?? randomUUID();
    if (!known) {
      this.automations.set(AutomationExecutionId, {
        AutomationExecutionId,
        AutomationExecutionStatus: 'InProgress',
        parameters,
        token: input.ClientToken,
        commands: [],
      });
    }
    return { AutomationExecutionId };
  }

  GetAutomationExecution({ AutomationExecutionId }: { AutomationExecutionId: string }) {
    const { commands, ...execution } = this.#automation(AutomationExecutionId);
    const StepExecutions = commands.map(({ CommandId }) => ({ Outputs: { CommandId: [CommandId] } }));
    return { AutomationExecution: { ...execution, StepExecutions } };
  }

  StopAutomationExecution({ AutomationExecutionId }: { AutomationExecutionId: string }) {
    const automation = this.#automation(AutomationExecutionId);
    if (automation.AutomationExecutionStatus !== 'InProgress') {
      throw awsError('InvalidAutomationStatusUpdateException', 'The Automation has ended.');
    }
    automation.AutomationExecutionStatus = 'Cancelled';
    return {};
  }

  ListCommandInvocations(input: { CommandId: string; MaxResults?: number; NextToken?: string }) {
    const command = [...this.automations.values()]
      .flatMap(({ commands }) => commands)
      .find(({ CommandId }) => CommandId === input.CommandId);
    const { items, NextToken } = pageOf(command?.invocations ?? [], input);
    return { CommandInvocations: items, NextToken };
  }

  #automation(id: string): Automation {
    const automation = this.automations.get(id);
    if (!automation) {
      throw awsError('AutomationExecutionNotFoundException', `Automation ${id} is not known.`);
    }
    return automation;
  }
}

function pageOf<T>(all: T[], { MaxResults = 10, NextToken }: { MaxResults?: number; NextToken?: string }) {
  const start = Number(NextToken ?? 0);
  const end = start + MaxResults;
  return { items: all.slice(start, end), NextToken: end < all.length ? String(end) : undefined };
}

/** EventBridge takes whatever it is given; what it was given stands in `calls`. */
class FakeEventBridge extends FakeService {
  PutEvents({ Entries }: { Entries: object[] }) {
    return { FailedEntryCount: 0, Entries: Entries.map((_, index) => ({ EventId: `event-${index}` })) };
  }
}

/** One member account and Region. */
export class FakeTarget {
  readonly secretsManager = new FakeSecretsManager();
  readonly ssm = new FakeSsm(this.secretsManager);
  readonly events = new FakeEventBridge();

  /** Clients with a session that allows what its statements name, and nothing else. */
  clients(statements: SessionStatement[]): TargetClients {
    const allowed = new Set(statements.flatMap((statement) => statement.Action));
    const guard = (service: string) => (operation: string) => {
      if (!allowed.has(`${service}:${operation}`)) {
        throw awsError('AccessDeniedException', `The session may not call ${service}:${operation}.`);
      }
    };
    return {
      ssm: this.ssm.client(SSMClient.prototype, guard('ssm')),
      secretsManager: this.secretsManager.client(SecretsManagerClient.prototype, guard('secretsmanager')),
      events: this.events.client(undefined, guard('events')),
    };
  }
}
