import {
  arnMatches,
  type Context,
  checkConditions,
  conditionsHold,
  list,
  matchesPattern,
  substitute,
} from './conditions.ts';
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

export type PolicyKind =
  | 'identity-based policy'
  | 'session policy'
  | 'resource-based policy'
  | 'role trust policy';

const statementElements = new Set([
  'Sid',
  'Effect',
  'Principal',
  'NotPrincipal',
  'Action',
  'NotAction',
  'Resource',
  'NotResource',
  'Condition',
]);
const checked = new Map<PolicyKind, WeakSet<PolicyDocument>>();

/**
 * The statements of a policy, after a check that it holds nothing that would have to be guessed at. IAM
 * refuses most of these when a policy is saved. Throws NotModelled.
 */
export function statementsOf(policy: PolicyDocument, kind: PolicyKind): Statement[] {
  const statements = list(policy.Statement);
  const done = checked.get(kind) ?? new WeakSet();
  checked.set(kind, done);
  if (done.has(policy)) return statements;
  const refuse = (statement: Statement, what: string): never => {
    throw new NotModelled(`${what} in ${kind}, statement ${JSON.stringify(statement)}`);
  };
  if (statements.length === 0) throw new NotModelled(`${kind} without statements`);
  for (const statement of statements) {
    const unknown = Object.keys(statement).find((element) => !statementElements.has(element));
    if (unknown) refuse(statement, `element ${unknown}`);
    if (statement.Effect !== 'Allow' && statement.Effect !== 'Deny') refuse(statement, 'Effect');
    if ((statement.Action === undefined) === (statement.NotAction === undefined)) {
      refuse(statement, 'exactly one of Action and NotAction is needed');
    }
    if (statement.Resource !== undefined && statement.NotResource !== undefined) {
      refuse(statement, 'both Resource and NotResource');
    }
    const hasResource = statement.Resource !== undefined || statement.NotResource !== undefined;
    if (hasResource === (kind === 'role trust policy')) refuse(statement, 'Resource missing or out of place');
    const hasPrincipal = statement.Principal !== undefined || statement.NotPrincipal !== undefined;
    if (hasPrincipal === (kind === 'identity-based policy' || kind === 'session policy')) {
      refuse(statement, 'Principal missing or out of place');
    }
    if (statement.NotPrincipal !== undefined && statement.Effect === 'Allow') {
      refuse(statement, 'NotPrincipal with Allow');
    }
    for (const pattern of [...list(statement.Resource), ...list(statement.NotResource)]) {
      const parts = pattern.split(':');
      if (pattern !== '*' && parts.length < 6) refuse(statement, `resource ${pattern}`);
      // Variables are replaced "only in the resource portion of the ARN" (IAM User Guide, "Variables and tags").
      if (parts.slice(0, 5).join(':').includes('${')) refuse(statement, `variable in ${pattern}`);
    }
    checkConditions(statement.Condition ?? {});
  }
  done.add(policy);
  return statements;
}

const actionsOf = new WeakMap<Statement, Map<string, boolean>>();

/** Whether a statement speaks of this action. Statements never change, and are asked of few actions again and again. */
function speaksOf(statement: Statement, action: string): boolean {
  const known = actionsOf.get(statement) ?? new Map<string, boolean>();
  actionsOf.set(statement, known);
  let answer = known.get(action);
  if (answer === undefined) {
    // "The prefix and the action name are not case-sensitive" (IAM User Guide, "Action").
    const named = (patterns: OneOrMany<string> | undefined) =>
      list(patterns).some((pattern) => matchesPattern(action, pattern, true));
    answer = statement.NotAction === undefined ? named(statement.Action) : !named(statement.NotAction);
    known.set(action, answer);
  }
  return answer;
}

/** Whether a statement speaks of this action on this resource under these conditions; the principal apart. */
export function applies(
  statement: Statement,
  action: string,
  resource: string,
  context: Context,
  version: string | undefined,
): boolean {
  // Before 2012-10-17 there were no variables: the text is taken as it is.
  const withVariables = version === '2012-10-17';
  if (!speaksOf(statement, action)) return false;

  const covers = (patterns: OneOrMany<string>) =>
    list(patterns).some((pattern) => {
      if (pattern === '*') return true;
      if (resource === '*') return false;
      const resolved = withVariables ? substitute(pattern, context) : pattern;
      if (resolved === undefined && statement.NotResource !== undefined) {
        throw new NotModelled(`policy variable without a value in NotResource ${pattern}`);
      }
      return resolved !== undefined && arnMatches(resource, resolved);
    });
  if (statement.Resource !== undefined && !covers(statement.Resource)) return false;
  if (statement.NotResource !== undefined && covers(statement.NotResource)) return false;
  return conditionsHold(statement.Condition, context, statement.Effect, withVariables);
}
