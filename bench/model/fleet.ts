import type { CreateTableCommandInput } from '@aws-sdk/client-dynamodb';
import {
  type Deployment,
  deploymentIdOf,
  executionNameOf,
  type NodeRecord,
  versionIdOf,
} from '../../functions/shared/deployment.ts';
import { resolveTemplate } from '../../local/templates/resolve-template.ts';
import type { FakeAcm } from '../../tests/functions/support/fake-acm.ts';
import { Table } from './table.ts';

export const CENTRAL = '111122223333';
export const REGION = 'eu-central-1';

const stack = resolveTemplate(`${import.meta.dirname}/../../template.yaml`, {
  account: CENTRAL,
  region: REGION,
  stackName: 'acm-export',
  parameters: { ExternalId: 'only-for-measurements' },
});

/** The resolved properties of a resource of the central stack. */
export const propertiesOf = (logicalId: string) =>
  // biome-ignore lint/suspicious/noExplicitAny: resources of every type
  stack.resources.get(logicalId)?.properties as any;

export const STATE_MACHINE_ARN = `arn:aws:states:${REGION}:${CENTRAL}:stateMachine:acm-export-certificate-rollout`;

/** Any date before the measurement: when the fleet was installed. */
const INSTALLED_AT = '2026-06-01T00:00:00Z';

export interface FleetPlan {
  deployments: number;
  certificates: number;
  accounts: number;
  /** Values of the tag in each account; deployments share them evenly. */
  tagsPerAccount: number;
  nodesPerDeployment: number;
}

/** A table as the template defines it, empty. */
export function tableOf(logicalId: 'InventoryTable' | 'IdempotencyTable'): Table {
  const { KeySchema, GlobalSecondaryIndexes = [] } = propertiesOf(logicalId) as CreateTableCommandInput;
  const keysOf = (schema: CreateTableCommandInput['KeySchema']) => {
    const [hash, range] = (schema ?? []).map((key) => key.AttributeName as string);
    return { hash: hash as string, ...(range ? { range } : {}) };
  };
  return new Table(
    keysOf(KeySchema),
    Object.fromEntries(GlobalSecondaryIndexes.map((index) => [index.IndexName, keysOf(index.KeySchema)])),
  );
}

export interface Fleet {
  certificateArns: string[];
  deployments: Deployment[];
  /** Ids of the nodes of each tag value, by account. */
  nodes: Map<string, Map<string, string[]>>;
}

/** A fleet in which every node serves the current version of its certificate, written into the table. */
export async function healthyFleet(plan: FleetPlan, table: Table, acm: FakeAcm): Promise<Fleet> {
  const certificateArns: string[] = [];
  for (let index = 0; index < plan.certificates; index += 1) {
    certificateArns.push(await acm.issue(`00000000-0000-0000-0000-${String(index).padStart(12, '0')}`));
  }
  const nodes: Fleet['nodes'] = new Map();
  const deployments: Deployment[] = [];
  const perAccount = new Map<string, number>();
  for (let index = 0; index < plan.deployments; index += 1) {
    const certificate = index % plan.certificates;
    // Every account has deployments of every certificate.
    const place = (certificate + Math.floor(index / plan.certificates)) % plan.accounts;
    const account = String(200_000_000_000 + place);
    const arn = certificateArns[certificate] as string;
    const tags = nodes.get(account) ?? new Map<string, string[]>();
    nodes.set(account, tags);
    const within = perAccount.get(account) ?? 0;
    perAccount.set(account, within + 1);
    const tag = `application-${within % plan.tagsPerAccount}`;
    tags.set(tag, tags.get(tag) ?? nodeIds(tags.size, plan.nodesPerDeployment));
    const deployment = healthyDeployment(
      `web-${certificate}-${Math.floor(within / plan.tagsPerAccount)}`,
      arn,
      account,
      tag,
      acm,
    );
    deployments.push(deployment);
    table.PutItem({ Item: { ...deployment, Item: 'deployment' } });
    for (const NodeId of tags.get(tag) ?? []) {
      table.PutItem({ Item: { ...healthyNode(deployment, NodeId), Item: `node#${NodeId}` } });
    }
  }
  return { certificateArns, deployments, nodes };
}

const nodeIds = (tag: number, count: number): string[] =>
  Array.from({ length: count }, (_, node) => `i-${(tag * count + node).toString(16).padStart(17, '0')}`);

function healthyDeployment(
  CertName: string,
  CertificateArn: string,
  TargetAccount: string,
  TargetTagValue: string,
  acm: FakeAcm,
): Deployment {
  const target = { TargetAccount, TargetRegion: REGION, TargetTagKey: 'acm-export', TargetTagValue };
  const { serial: Serial, notAfter } = acm.held(CertificateArn).version;
  const DeploymentId = deploymentIdOf(target, CertName);
  const NotAfter = `${notAfter.toISOString().slice(0, 19)}Z`;
  return {
    ...target,
    DeploymentId,
    CertName,
    CertificateArn,
    Options: {
      ReloadServices: ['nginx'],
      RestartServices: [],
      VerifyPort: 443,
      KeyFormat: 'decrypted',
      ExtraFormats: [],
    },
    MaxConcurrency: '50',
    MaxErrors: '0',
    Status: 'INSTALLED',
    RolloutNumber: 1,
    Failures: 0,
    Serial,
    VersionId: versionIdOf(CertificateArn, Serial),
    NotAfter,
    LastRollout: {
      Number: 1,
      Serial,
      Cause: 'REQUEST',
      CorrelationId: '11111111-2222-3333-4444-555555555555',
      ExecutionArn: `${STATE_MACHINE_ARN.replace('stateMachine', 'execution')}:${executionNameOf(DeploymentId, Serial, 1)}`,
      Status: 'INSTALLED',
      At: INSTALLED_AT,
    },
    CreatedAt: INSTALLED_AT,
    UpdatedAt: INSTALLED_AT,
  };
}

function healthyNode(deployment: Deployment, NodeId: string): NodeRecord {
  const { DeploymentId, Serial = '', VersionId = '' } = deployment;
  return {
    DeploymentId,
    NodeId,
    Outcome: 'installed',
    Serial,
    VersionId,
    RolloutNumber: 1,
    At: INSTALLED_AT,
  };
}
