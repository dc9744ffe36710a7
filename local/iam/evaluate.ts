import { NotModelled } from './not-modelled.ts';

export type OneOrMany<T> = T | T[];
export type PrincipalElement = '*' | { AWS?: OneOrMany<string>; Service?: OneOrMany<string> };
export type ConditionBlock = Record<string, Record<string, OneOrMany<string | number | boolean>>>;

export interface Statement {
  Sid?: string;
  Effect: 'Allow' | 'Deny';
  Principal?: PrincipalElement;
  NotPrincipal?: PrincipalElement;
  Action?: OneOrMany<string>;
  NotAction?: OneOrMany<string>;
  Resource?: OneOrMany<string>;
  NotResource?: OneOrMany<string>;
  Condition?: ConditionBlock;
}

export interface PolicyDocument {
  Version?: string;
  Id?: string;
  Statement: OneOrMany<Statement>;
}

/** Who calls. A role session has `arn` (the role) and `sessionArn`; AWS itself has only `service`. */
export interface Principal {
  account: string;
  /** The role's or user's ARN, as in aws:PrincipalArn; empty for an AWS service. */
  arn: string;
  /** `arn:aws:sts::…:assumed-role/<role>/<session>` of a role session. */
  sessionArn?: string;
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

/** Decides as documented in the IAM User Guide, "Policy evaluation logic". Throws NotModelled. */
export function evaluate(_principal: Principal, _request: AccessRequest): Decision {
  throw new NotModelled('evaluate');
}
