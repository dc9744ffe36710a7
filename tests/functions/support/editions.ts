import { readFileSync } from 'node:fs';
import type { PolicyDocument } from 'local-cloud/iam';
import { memberStack, policiesOf, resourceOf } from '../../templates/stacks.ts';
import { CENTRAL, MEMBER, REGION, type System } from './system.ts';

interface Policies {
  trustPolicy: PolicyDocument;
  inlinePolicies: PolicyDocument[];
}

/** The rollout role of MEMBER as member stacks of earlier editions made it: 69d6b04, and the last one before this. */
const OLD_ROLLOUT_ROLES: Record<'first' | 'before', Policies> = JSON.parse(
  readFileSync(new URL('rollout-roles.json', import.meta.url), 'utf8'),
);

/** Member stacks: of the first edition, of the one before this, of this one, and of this one without the first one's grants. */
export type Edition = keyof typeof OLD_ROLLOUT_ROLES | 'this' | 'this, without';

const roleArn = (account: string, name: string) =>
  `arn:aws:iam::${account}:role/acm-export-${name}-${REGION}`;

/** The roles of MEMBER become those of an edition's member stack. @returns what undoes it. */
export function installMemberRoles({ cloud }: System, edition: Edition): () => void {
  const { identities } = cloud.services;
  const roleNamed = (name: string) => {
    const role = identities.role(roleArn(MEMBER, name));
    if (!role) throw new Error(`${MEMBER} has no role ${name}`);
    return role;
  };
  const rollout = roleNamed('rollout');
  const writer = roleNamed('bundle-writer');
  const { trustPolicy, inlinePolicies } = rollout;
  writer.exists = edition.startsWith('this');
  Object.assign(rollout, rolloutPoliciesOf(edition, { trustPolicy, inlinePolicies }));
  return () => {
    writer.exists = true;
    Object.assign(rollout, { trustPolicy, inlinePolicies });
  };
}

function rolloutPoliciesOf(edition: Edition, ofNow: Policies): Policies {
  if (edition === 'this') return ofNow;
  if (edition !== 'this, without') return OLD_ROLLOUT_ROLES[edition];
  const parameters = {
    CentralRegion: REGION,
    KeepFirstEditionGrants: 'false',
    TargetTagKey2: 'tier',
    TargetTagKey3: 'tier=x',
  };
  const stack = memberStack(parameters, { account: MEMBER, region: REGION });
  const role = resourceOf(stack, 'RolloutRole');
  return { trustPolicy: role.properties.AssumeRolePolicyDocument, inlinePolicies: policiesOf(role) };
}

/**
 * What a member stack sees of a central stack of an earlier edition: it knows no writer of bundles, and starts installations
 * without a tag.
 */
export function actAsOldCentral({ cloud }: System): void {
  const role = cloud.services.identities.role(roleArn(CENTRAL, 'export-certificate'));
  const text = JSON.stringify(role?.inlinePolicies);
  const without = JSON.parse(text.replace(/"arn:aws:iam::\*:role\/acm-export-bundle-writer-\*",/, ''));
  if (JSON.stringify(without) === text)
    throw new Error('export-certificate may not assume the writer at all');
  Object.assign(role as object, { inlinePolicies: without });
  cloud.faults.inject({
    operation: 'AmazonSSM.StartAutomationExecution',
    kind: 'refuse',
    error: { name: 'AccessDeniedException', message: 'not of that edition', status: 400 },
    times: Number.POSITIVE_INFINITY,
    when: ({ input }) => (input as { Tags?: object }).Tags !== undefined,
  });
}
