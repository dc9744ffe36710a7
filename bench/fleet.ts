import { CreateSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import {
  type Deployment,
  deploymentIdOf,
  type NodeRecord,
  normaliseSerial,
  secretNameOf,
  timestamp,
  versionIdOf,
} from '../functions/domain/deployment.ts';
import { InstallOptions } from '../functions/domain/order.ts';
import { inParallel } from '../functions/runtime/in-parallel.ts';
import { ScriptedNode } from '../local/scripted-node.ts';
import { administratorOf, CENTRAL, deployMember, MEMBERS, REGION, type World } from './world.ts';

/** Any date before the measurement: when the fleet was installed. */
const INSTALLED_AT = '2026-06-01T00:00:00Z';
/** What a POST that names a service and a port is completed to. */
export const OPTIONS = InstallOptions.parse({ ReloadServices: ['nginx'], VerifyPort: 443 });
/** Calls at once while a fleet is made. */
const AT_ONCE = 64;

export interface FleetPlan {
  deployments: number;
  certificates: number;
  accounts: number;
  /** Values of the tag in each account; deployments share them evenly. */
  tagsPerAccount: number;
  nodesPerDeployment: number;
}

/** A fleet in which every node serves the current version of its certificate. */
export interface Fleet {
  certificateArns: string[];
  deployments: Deployment[];
  /** Ids of the nodes of each tag value, by account. */
  nodes: Map<string, Map<string, string[]>>;
}

/** Issues the certificates, which takes real time, and says what lies where. */
export async function planFleet({ cloud, stack }: World, plan: FleetPlan): Promise<Fleet> {
  const { acm } = cloud.services;
  const certificates = await Promise.all(
    Array.from({ length: plan.certificates }, async (_, index) => {
      const names = ['www.example.com'];
      const arn = await acm.add(CENTRAL, REGION, {
        id: `00000000-0000-0000-0000-${String(index).padStart(12, '0')}`,
        names,
        keyAlgorithm: 'EC_prime256v1',
        tags: { CertName: '+' },
      });
      // What was never exported is not renewed, and people are told.
      acm.certificate(arn).exported = true;
      return { arn, ...currentOf(cloud, arn) };
    }),
  );
  const stateMachineArn = stack.resources.get('CertificateRolloutStateMachine')?.arn ?? '';
  const nodes: Fleet['nodes'] = new Map();
  const perAccount = new Map<string, number>();
  let nodesMade = 0;
  const newNode = () => {
    nodesMade += 1;
    return `i-${nodesMade.toString(16).padStart(17, '0')}`;
  };
  const deployments = Array.from({ length: plan.deployments }, (_, index) => {
    const number = index % plan.certificates;
    const certificate = certificates[number] as (typeof certificates)[number];
    // Every account has deployments of every certificate.
    const place = (number + Math.floor(index / plan.certificates)) % plan.accounts;
    const account = MEMBERS[place] as string;
    const tags = nodes.get(account) ?? new Map<string, string[]>();
    nodes.set(account, tags);
    const within = perAccount.get(account) ?? 0;
    perAccount.set(account, within + 1);
    const tag = `application-${within % plan.tagsPerAccount}`;
    tags.set(tag, tags.get(tag) ?? Array.from({ length: plan.nodesPerDeployment }, newNode));
    const name = `web-${number}-${Math.floor(within / plan.tagsPerAccount)}`;
    return healthyDeployment(name, account, tag, certificate, stateMachineArn);
  });
  return { certificateArns: certificates.map(({ arn }) => arn), deployments, nodes };
}

/** What a certificate is now, as the inventory writes it. */
export function currentOf(cloud: World['cloud'], arn: string) {
  const version = cloud.services.acm.certificate(arn).versions.at(-1);
  if (!version) throw new Error(`${arn} was never issued.`);
  return {
    serial: normaliseSerial(version.serial),
    notBefore: timestamp(version.notBefore),
    notAfter: timestamp(version.notAfter),
  };
}

/** Writes the deployments and their nodes into the inventory. */
export async function fillInventory(world: World, { deployments, nodes }: Fleet): Promise<void> {
  const records = deployments.flatMap((deployment) => {
    const { DeploymentId, TargetAccount, TargetTagValue } = deployment;
    const ids = nodes.get(TargetAccount)?.get(TargetTagValue) ?? [];
    return [
      { ...deployment, Item: 'deployment' },
      ...ids.map((id) => ({ ...healthyNode(deployment, id), Item: `node#${id}`, DeploymentId })),
    ];
  });
  await writeItems(world, records);
}

/** Puts items into the inventory as they are. */
export async function writeItems({ documents, stack }: World, items: object[]): Promise<void> {
  const table = stack.resources.get('InventoryTable')?.physicalId ?? '';
  // BatchWriteItem takes 25 items at most.
  const batches = Array.from({ length: Math.ceil(items.length / 25) }, (_, batch) =>
    items.slice(batch * 25, (batch + 1) * 25),
  );
  await inParallel(batches, AT_ONCE, (batch) => {
    const puts = batch.map((Item) => ({ PutRequest: { Item } }));
    return documents.send(new BatchWriteCommand({ RequestItems: { [table]: puts } }));
  });
}

/**
 * The member accounts with their nodes.
 *
 * @param install takes as long as a node needs for a command.
 */
export async function addNodes(
  { cloud }: World,
  { nodes }: Fleet,
  install: () => Promise<void> = async () => {},
): Promise<Map<string, ScriptedNode>> {
  const made = new Map<string, ScriptedNode>();
  for (const [account, tags] of nodes) {
    const place = { account, region: REGION };
    await deployMember(cloud, account);
    for (const [tag, ids] of tags) {
      for (const id of ids) {
        const options = { tags: { 'acm-export': tag } };
        made.set(id, await ScriptedNode.create(cloud, place, id, options, install));
      }
    }
  }
  return made;
}

/** The bundles of the version before. */
export async function storeBundles({ cloud }: World, { deployments }: Fleet): Promise<void> {
  const accounts = Map.groupBy(deployments, ({ TargetAccount }) => TargetAccount);
  for (const [account, own] of accounts) {
    const { credentials } = administratorOf(cloud, account);
    const secrets = cloud.client(SecretsManagerClient, { region: REGION, credentials });
    await inParallel(own, AT_ONCE, (deployment) =>
      secrets.send(
        new CreateSecretCommand({
          Name: secretNameOf('acm-export', deployment),
          ClientRequestToken: deployment.VersionId,
          SecretString: 'the version before',
          Tags: [
            { Key: deployment.TargetTagKey, Value: deployment.TargetTagValue },
            { Key: 'acm-export:deployment-id', Value: deployment.DeploymentId },
          ],
        }),
      ),
    );
  }
}

function healthyDeployment(
  CertName: string,
  TargetAccount: string,
  TargetTagValue: string,
  {
    arn: CertificateArn,
    serial: Serial,
    notBefore: NotBefore,
    notAfter: NotAfter,
  }: { arn: string; serial: string; notBefore: string; notAfter: string },
  stateMachineArn: string,
): Deployment {
  const target = { TargetAccount, TargetRegion: REGION, TargetTagKey: 'acm-export', TargetTagValue };
  const DeploymentId = deploymentIdOf(target, CertName);
  const VersionId = versionIdOf(CertificateArn, Serial);
  const installed = {
    Generation: 1,
    Serial,
    NotBefore,
    Cause: 'REQUEST',
    CorrelationId: '11111111-2222-3333-4444-555555555555',
    At: INSTALLED_AT,
  } as const;
  return {
    ...target,
    DeploymentId,
    CertName,
    CertificateArn,
    Options: OPTIONS,
    MaxConcurrency: '50',
    MaxErrors: '0',
    Status: 'INSTALLED',
    RolloutNumber: 1,
    Serial,
    VersionId,
    NotAfter,
    Wanted: installed,
    Observed: {
      ...installed,
      RolloutNumber: 1,
      ExecutionArn: `${stateMachineArn.replace('stateMachine', 'execution')}:${DeploymentId}-1`,
      Outcome: 'INSTALLED',
      VersionId,
      Failures: 0,
    },
    CreatedAt: INSTALLED_AT,
    UpdatedAt: INSTALLED_AT,
  };
}

function healthyNode(deployment: Deployment, NodeId: string): NodeRecord {
  const { DeploymentId, Serial = '', VersionId = '', NotAfter, Wanted } = deployment;
  const NotBefore = Wanted?.NotBefore ?? '';
  return {
    DeploymentId,
    NodeId,
    Outcome: 'installed',
    Serial,
    VersionId,
    RolloutNumber: 1,
    At: INSTALLED_AT,
    Serves: { Serial, VersionId, NotBefore, NotAfter, SeenAt: INSTALLED_AT, Seen: 'port' },
  };
}
