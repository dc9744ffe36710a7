import {
  type InstanceInformation,
  type InstanceInformationStringFilter,
  paginateDescribeInstanceInformation,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import type { ManagedNode } from '../domain/nodes.ts';
import type { Target } from '../domain/order.ts';

/**
 * Every managed node that carries the target's tag. Terminated and stopped nodes are not listed.
 * A tag filter cannot be combined with other filters (API reference of DescribeInstanceInformation), so the
 * caller looks at state and platform itself.
 *
 * @param beforePage awaited before each call.
 */
export function listNodes(
  ssm: SSMClient,
  { TargetTagKey, TargetTagValue }: Target,
  beforePage?: () => Promise<void>,
): Promise<ManagedNode[]> {
  return listBy({ Key: `tag:${TargetTagKey}`, Values: [TargetTagValue] }, ssm, beforePage);
}

/** Every managed node that carries one of the tag keys, whatever its value. */
export function listNodesByKey(
  ssm: SSMClient,
  tagKeys: string[],
  beforePage?: () => Promise<void>,
): Promise<ManagedNode[]> {
  return listBy({ Key: 'tag-key', Values: tagKeys }, ssm, beforePage);
}

async function listBy(
  filter: InstanceInformationStringFilter,
  ssm: SSMClient,
  beforePage: () => Promise<void> = async () => {},
): Promise<ManagedNode[]> {
  const pages = paginateDescribeInstanceInformation({ client: ssm, pageSize: 50 }, { Filters: [filter] });
  const nodes: ManagedNode[] = [];
  await beforePage();
  for await (const page of pages) {
    nodes.push(...(page.InstanceInformationList ?? []).map(managedNode));
    if (page.NextToken) {
      await beforePage();
    }
  }
  return nodes;
}

function managedNode(information: InstanceInformation): ManagedNode {
  const { InstanceId = '', PingStatus, PlatformType = 'unknown', AgentVersion = '0' } = information;
  const lastPing = information.LastPingDateTime?.toISOString();
  return {
    NodeId: InstanceId,
    Online: PingStatus === 'Online',
    Platform: PlatformType,
    AgentVersion,
    ...(lastPing ? { LastPing: lastPing } : {}),
  };
}
