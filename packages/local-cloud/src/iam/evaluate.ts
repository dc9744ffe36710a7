import { type Context, list } from './conditions.ts';
import { applies, type PolicyDocument, type PolicyKind, type Statement, statementsOf } from './policy.ts';

export type { ConditionBlock, OneOrMany, PolicyDocument, PrincipalElement, Statement } from './policy.ts';

/** Who calls. A role session has `arn` (the role) and `sessionArn`; AWS itself has only `service`. */
export interface Principal {
  account: string;
  /** The role's or user's ARN, as in aws:PrincipalArn; empty for an AWS service. */
  arn: string;
  /** `arn:aws:sts::…:assumed-role/<role>/<session>` of a role session. */
  sessionArn?: string;
  /** As in aws:userid: `<role id>:<session name>` of a role session, the id of a user. */
  userId?: string;
  /** `ssm.amazonaws.com` and the like, when AWS itself calls. */
  service?: string;
  /** The role's tags, with session tags laid over them. */
  tags: Record<string, string>;
  identityPolicies: PolicyDocument[];
  sessionPolicy?: PolicyDocument;
}

export interface AccessRequest {
  action: string;
  resource: string;
  /** Condition keys of the request and the resource; evaluate adds those of the principal. */
  context: Record<string, string | string[]>;
  resourcePolicies?: PolicyDocument[];
  /** A trust policy must always allow by itself, in the same account too (default 'resource-based policy'). */
  resourcePolicyKind?: 'resource-based policy' | 'role trust policy';
  resourceAccount: string;
}

export interface Decision {
  allowed: boolean;
  /** In AWS's own words: who, what, on which resource, and which kind of policy decided. */
  reason: string;
}

/**
 * How directly a resource policy names the caller, in rising order. The account stands for itself only: it
 * delegates to the identity policies in it. A grant to the role is limited by the session policy, a grant to
 * the session, a user or everybody is not (IAM User Guide, "Policy evaluation logic", "Principal").
 */
const grants = ['none', 'account', 'role', 'session'] as const;
type Grant = (typeof grants)[number];

/**
 * Decides one access request as documented in the IAM User Guide ("Policy evaluation logic" and "Cross-account
 * policy evaluation logic"): explicit deny anywhere; in one account identity or resource policy, across
 * accounts both; the session policy limits. Not modelled: permissions boundaries, SCPs, RCPs, VPC endpoints.
 * Throws NotModelled for whatever in a policy would have to be guessed at.
 */
export function evaluate(principal: Principal, request: AccessRequest): Decision {
  const { action, resource, resourceAccount } = request;
  const resourceKind = request.resourcePolicyKind ?? 'resource-based policy';
  const context = contextOf(principal, request);
  const who = principal.service ?? principal.sessionArn ?? principal.arn;
  const what = `perform: ${action}${resource === '*' ? '' : ` on resource: ${resource}`}`;
  const denied = (why: string) => ({
    allowed: false,
    reason: `User: ${who} is not authorized to ${what} ${why}`,
  });
  const allowed = (by: string) => ({
    allowed: true,
    reason: `User: ${who} is authorized to ${what} by ${by}`,
  });
  const missing = (kind: PolicyKind) => denied(`because no ${kind} allows the ${action} action`);

  const matching = (policies: PolicyDocument[], kind: PolicyKind): Statement[] =>
    policies.flatMap((policy) =>
      statementsOf(policy, kind).filter((statement) =>
        applies(statement, action, resource, context, policy.Version),
      ),
    );
  const identity = matching(principal.identityPolicies, 'identity-based policy');
  const session = matching(list(principal.sessionPolicy), 'session policy');
  const fromResource = matching(request.resourcePolicies ?? [], resourceKind).filter(
    (statement) => grantTo(principal, statement) !== 'none',
  );

  const kinds: [Statement[], PolicyKind][] = [
    [identity, 'identity-based policy'],
    [session, 'session policy'],
    [fromResource, resourceKind],
  ];
  for (const [statements, kind] of kinds) {
    const deny = statements.find(({ Effect }) => Effect === 'Deny');
    if (!deny) continue;
    const article = kind === 'role trust policy' ? 'the' : kind === 'identity-based policy' ? 'an' : 'a';
    return denied(`with an explicit deny in ${article} ${kind}${deny.Sid ? ` (statement ${deny.Sid})` : ''}`);
  }

  const byIdentity = identity.find(({ Effect }) => Effect === 'Allow');
  const sessionAllows = !principal.sessionPolicy || session.some(({ Effect }) => Effect === 'Allow');
  const byResource = fromResource
    .filter(({ Effect }) => Effect === 'Allow')
    .sort((a, b) => grants.indexOf(grantTo(principal, b)) - grants.indexOf(grantTo(principal, a)))[0];
  const grant: Grant = byResource ? grantTo(principal, byResource) : 'none';
  const named = (statement: Statement, kind: PolicyKind) =>
    allowed(`${kind}${statement.Sid ? ` (statement ${statement.Sid})` : ''}`);

  if (principal.service) return byResource ? named(byResource, resourceKind) : missing(resourceKind);

  const sameAccount = principal.account === resourceAccount;
  // Trust policies "must explicitly allow access"; other accounts need both sides anyway.
  const resourceMustAllow = !sameAccount || resourceKind === 'role trust policy';
  const direct = sameAccount && byResource && (grant === 'session' || (grant === 'role' && sessionAllows));
  if (direct) return named(byResource, resourceKind);
  if (grant === 'role' && sameAccount) return missing('session policy');
  if (!byIdentity) return missing('identity-based policy');
  if (!sessionAllows) return missing('session policy');
  if (resourceMustAllow && !byResource) return missing(resourceKind);
  return named(byIdentity, 'identity-based policy');
}

function contextOf(principal: Principal, request: AccessRequest): Context {
  const context: Context = { ...request.context, 'aws:ResourceAccount': request.resourceAccount };
  context['aws:PrincipalIsAWSService'] = String(principal.service !== undefined);
  if (principal.service) {
    context['aws:PrincipalServiceName'] = principal.service;
    return context;
  }
  context['aws:PrincipalArn'] = principal.arn;
  context['aws:PrincipalAccount'] = principal.account;
  context['aws:PrincipalType'] = principal.sessionArn ? 'AssumedRole' : 'User';
  if (principal.userId) context['aws:userid'] = principal.userId;
  for (const [key, value] of Object.entries(principal.tags)) context[`aws:PrincipalTag/${key}`] = value;
  return context;
}

function grantTo(principal: Principal, statement: Statement): Grant {
  if (statement.NotPrincipal !== undefined) return isExempt(principal, statement) ? 'none' : 'session';
  const element = statement.Principal;
  if (element === undefined || element === '*') return 'session';
  const names = list(element.AWS);
  if (names.includes('*')) return 'session';
  if (principal.service) return list(element.Service).includes(principal.service) ? 'session' : 'none';
  if (names.includes(principal.sessionArn ?? principal.arn)) return 'session';
  if (names.includes(principal.arn)) return 'role';
  return names.some((name) => isAccount(name, principal)) ? 'account' : 'none';
}

/** With NotPrincipal, account, role and session must all be named, or one of them is denied. */
function isExempt(principal: Principal, { NotPrincipal: element }: Statement): boolean {
  if (element === undefined || element === '*') return element === '*';
  if (principal.service) return list(element.Service).includes(principal.service);
  const names = list(element.AWS);
  const needed = [principal.arn, ...list(principal.sessionArn)];
  return (
    names.includes('*') ||
    (names.some((name) => isAccount(name, principal)) && needed.every((name) => names.includes(name)))
  );
}

function isAccount(name: string, principal: Principal): boolean {
  return (
    name === principal.account ||
    (name.startsWith('arn:') && name.endsWith(`:iam::${principal.account}:root`))
  );
}
