import { DescribeInstancesCommand, EC2Client } from '@aws-sdk/client-ec2';
import {
  GetInstanceProfileCommand,
  GetRoleCommand,
  IAMClient,
  ListAttachedRolePoliciesCommand,
} from '@aws-sdk/client-iam';
import {
  type InstanceInformation,
  paginateDescribeInstanceInformation,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { obstacleOf } from '../../functions/domain/nodes.ts';
import type { Target } from '../../functions/domain/order.ts';
import type { AwsSettings } from '../world.ts';
import type { Checks } from './checks.ts';

/** The most ids of one DescribeInstances (EC2 API reference: up to 1000; small ones are read by people). */
const IDS_AT_ONCE = 100;

/** The servers with the tag: whether Systems Manager reaches them, and whether their roles may read the bundle. */
export async function checkNodes(
  checks: Checks,
  settings: AwsSettings,
  target: Target,
  prefix: string,
  leftOut: readonly string[],
): Promise<void> {
  const { TargetTagKey: key, TargetTagValue: value, TargetAccount: account, TargetRegion: region } = target;
  const where = `${key}=${value} in ${account} ${region}`;
  const ssm = new SSMClient(settings);
  const nodes = await checks.asked(
    where,
    'whether servers can be reached',
    'ssm:DescribeInstanceInformation on *',
    async () => {
      const pages = paginateDescribeInstanceInformation(
        { client: ssm, pageSize: 50 },
        { Filters: [{ Key: `tag:${key}`, Values: [value] }] },
      );
      const found: InstanceInformation[] = [];
      for await (const page of pages) found.push(...(page.InstanceInformationList ?? []));
      return found;
    },
  );
  const listed = Array.isArray(nodes) ? nodes : undefined;
  const profiles = await profilesOf(checks, settings, where, key, value, listed);
  if (!listed) return;
  if (listed.length === 0 && profiles.size === 0) {
    checks.wrong(
      where,
      'No server carries the tag.',
      `Tag servers and their roles: ${key}=${value}. docs/guide.md, step 3.`,
    );
  }
  for (const node of listed) {
    const id = node.InstanceId ?? '';
    if (leftOut.includes(id)) {
      checks.ok(id, 'The deployment leaves the server out (ExcludeNodeIds).');
      continue;
    }
    const obstacle = obstacleOf({
      NodeId: id,
      Online: node.PingStatus === 'Online',
      Platform: node.PlatformType ?? 'unknown',
      AgentVersion: node.AgentVersion ?? '0',
    });
    if (!obstacle) checks.ok(id, 'Systems Manager reaches the server.');
    else {
      const isOffline = obstacle.Outcome === 'offline';
      checks.wrong(
        id,
        obstacle.Error,
        isOffline
          ? 'Start the server or its agent: systemctl status amazon-ssm-agent.'
          : 'Update the agent (document AWS-UpdateSSMAgent), or take the tag from a server that is no Linux.',
        isOffline ? node.LastPingDateTime : undefined,
      );
    }
    const role = id.startsWith('mi-')
      ? node.IamRole
      : await roleOfProfile(checks, settings, id, profiles.get(id));
    if (role) await checkRole(checks, settings, id, role.slice(role.lastIndexOf('/') + 1), target, prefix);
  }
}

/** Instance profiles by instance. Says which instances carry the tag and are not managed. */
async function profilesOf(
  checks: Checks,
  settings: AwsSettings,
  where: string,
  key: string,
  value: string,
  listed: InstanceInformation[] | undefined,
): Promise<Map<string, string | undefined>> {
  const ec2 = new EC2Client(settings);
  const found = await checks.asked(
    where,
    'whether instances with the tag are managed, and which roles they have',
    'ec2:DescribeInstances on *',
    async () => {
      const instances = [];
      let NextToken: string | undefined;
      do {
        const page = await ec2.send(
          new DescribeInstancesCommand({
            Filters: [
              { Name: `tag:${key}`, Values: [value] },
              { Name: 'instance-state-name', Values: ['running'] },
            ],
            MaxResults: IDS_AT_ONCE,
            ...(NextToken ? { NextToken } : {}),
          }),
        );
        instances.push(...(page.Reservations ?? []).flatMap(({ Instances = [] }) => Instances));
        NextToken = page.NextToken;
      } while (NextToken);
      return instances;
    },
  );
  const instances = Array.isArray(found) ? found : [];
  const managed = listed && new Set(listed.map(({ InstanceId }) => InstanceId));
  for (const { InstanceId: id = '', LaunchTime } of instances) {
    if (!managed || managed.has(id)) continue;
    checks.wrong(
      id,
      'The instance runs and carries the tag, and Systems Manager does not know it.',
      'Its role needs the policy AmazonSSMManagedInstanceCore, the agent must run, and the instance must reach ssm, ssmmessages and ec2messages of its Region.',
      LaunchTime,
    );
  }
  return new Map(
    instances.map(({ InstanceId = '', IamInstanceProfile }) => [InstanceId, IamInstanceProfile?.Arn]),
  );
}

async function roleOfProfile(
  checks: Checks,
  settings: AwsSettings,
  id: string,
  profile: string | undefined,
): Promise<string | undefined> {
  const known = checks.found.some(({ what }) =>
    what.startsWith('It was not checked whether instances with the tag'),
  );
  if (profile === undefined) {
    if (!known) {
      checks.wrong(
        id,
        'The instance has no instance profile: it has no role that may read the bundle.',
        'Give it a profile whose role carries the same tag and the read-bundle policy.',
      );
    }
    return undefined;
  }
  const name = profile.slice(profile.lastIndexOf('/') + 1);
  const found = await checks.once(`profile ${profile}`, () =>
    checks.asked(
      id,
      'which role the instance has',
      `iam:GetInstanceProfile on ${profile}`,
      () => new IAMClient(settings).send(new GetInstanceProfileCommand({ InstanceProfileName: name })),
      'NoSuchEntityException',
      'NoSuchEntity',
    ),
  );
  if (!found) return undefined;
  const role = found === 'missing' ? undefined : found.InstanceProfile?.Roles?.[0]?.RoleName;
  if (!role) checks.wrong(id, `Its instance profile ${name} has no role.`, 'Put a role into the profile.');
  return role;
}

/** Whether the role of a server may read the bundle: it needs the same tag, and the policy. */
async function checkRole(
  checks: Checks,
  settings: AwsSettings,
  id: string,
  role: string,
  { TargetTagKey: key, TargetTagValue: value, TargetAccount: account, TargetRegion: region }: Target,
  prefix: string,
): Promise<void> {
  const where = `role ${role} of ${id}`;
  const iam = new IAMClient(settings);
  const missing = ['NoSuchEntityException', 'NoSuchEntity'];
  const found = await checks.once(`role ${account} ${role}`, () =>
    checks.asked(
      where,
      'whether the role carries the tag',
      `iam:GetRole on role/${role}`,
      () => iam.send(new GetRoleCommand({ RoleName: role })),
      ...missing,
    ),
  );
  if (found === 'missing') {
    checks.wrong(
      where,
      'The role does not exist any more.',
      'Give the server a role that carries the tag and the read-bundle policy.',
    );
    return;
  }
  if (found) {
    const tag = found.Role?.Tags?.find(({ Key }) => Key === key)?.Value;
    if (tag === value) checks.ok(where, `It carries the tag ${key}=${value}.`);
    else {
      checks.wrong(
        where,
        tag === undefined
          ? `The server is tagged and its role is not: it may not read the bundle.`
          : `Its tag ${key} is ${tag}, and that of the server ${value}: it may not read the bundle.`,
        `aws iam tag-role --role-name ${role} --tags Key=${key},Value=${value}. A role has one value: servers of different tags need different roles.`,
      );
    }
  }
  const policy = `${prefix}-read-bundle-${region}`;
  const attached = await checks.once(`policies ${account} ${role}`, () =>
    checks.asked(
      where,
      'whether the role has the read-bundle policy',
      `iam:ListAttachedRolePolicies on role/${role}`,
      async () => {
        const names: string[] = [];
        let Marker: string | undefined;
        do {
          const page = await iam.send(
            new ListAttachedRolePoliciesCommand({ RoleName: role, ...(Marker ? { Marker } : {}) }),
          );
          names.push(...(page.AttachedPolicies ?? []).map(({ PolicyName = '' }) => PolicyName));
          Marker = page.IsTruncated ? page.Marker : undefined;
        } while (Marker);
        return names;
      },
      ...missing,
    ),
  );
  if (!Array.isArray(attached)) return;
  if (attached.includes(policy)) checks.ok(where, `It has the policy ${policy}.`);
  else {
    checks.wrong(
      where,
      `It lacks the policy ${policy}.`,
      `aws iam attach-role-policy --role-name ${role} --policy-arn arn:aws:iam::${account}:policy/${policy}, unless a policy of your own grants the same.`,
    );
  }
}
