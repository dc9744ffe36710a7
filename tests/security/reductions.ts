import type { RecordedCall } from 'local-cloud';
import {
  type AccessRequest,
  evaluate,
  type PolicyDocument,
  type Principal,
  type Statement,
} from 'local-cloud/iam';
import { type Deployed, resourcePoliciesOf } from 'local-cloud/templates';

/** A policy as a template places it. */
interface PlacedPolicy {
  kind: 'identity' | 'managed' | 'trust' | 'resource';
  /** Logical id of the role or policy; of what is guarded where SAM writes the policy. */
  where: string;
  /** ARN of the role, managed policy, function or queue. */
  owner: string;
  document: PolicyDocument;
  /** The other policies in the same role. */
  beside?: PolicyDocument[];
}

/** One way in which a policy could be other than it is. */
export interface Change {
  /** `<where>/<Sid>: <what>` */
  name: string;
  kind: 'action' | 'resource' | 'condition' | 'value' | 'any resource';
  effect: Statement['Effect'];
  policy: PlacedPolicy;
  /** Null where nothing is left of it. */
  changed: PolicyDocument | null;
}

const list = <T>(value: T | T[] | undefined | null): T[] =>
  value === undefined || value === null ? [] : ([value].flat() as T[]);
const documentOf = (value: unknown) =>
  (typeof value === 'string' ? JSON.parse(value) : value) as PolicyDocument;

/** Every policy of a stack: of roles, managed, of trust, and those that guard functions and queues. */
export function policiesOf(stack: Deployed): PlacedPolicy[] {
  const ofRoles = [...stack.resources].flatMap(
    ([where, { type, arn = '', physicalId, properties }]): PlacedPolicy[] => {
      if (type === 'AWS::IAM::Role') {
        const inline: PolicyDocument[] = (properties.Policies ?? []).map(
          ({ PolicyDocument }: { PolicyDocument: unknown }) => documentOf(PolicyDocument),
        );
        return [
          ...inline.map((document) => ({
            kind: 'identity' as const,
            where,
            owner: arn,
            document,
            beside: without(inline, document),
          })),
          { kind: 'trust', where, owner: arn, document: documentOf(properties.AssumeRolePolicyDocument) },
        ];
      }
      if (type === 'AWS::IAM::ManagedPolicy') {
        return [
          { kind: 'managed', where, owner: physicalId, document: documentOf(properties.PolicyDocument) },
        ];
      }
      return [];
    },
  );
  const nameOf = (owner: string) => [...stack.resources].find(([, { arn }]) => arn === owner)?.[0] ?? owner;
  const guarding = [...resourcePoliciesOf(stack)].map(
    ([owner, document]): PlacedPolicy => ({ kind: 'resource', where: nameOf(owner), owner, document }),
  );
  return [...ofRoles, ...guarding];
}

/** Takes each part of a policy away in turn, and lifts each limit to certain resources. */
export function changesOf(policy: PlacedPolicy): Change[] {
  const statements = list(policy.document.Statement);
  return statements.flatMap((statement, index) => {
    const label = statement.Sid ?? (policy.kind === 'trust' ? 'trust' : String(index));
    const change = (kind: Change['kind'], what: string, changed: Statement | undefined): Change => {
      const Statement = statements.flatMap((other, at) => (at === index ? list(changed) : [other]));
      return {
        name: `${policy.where}/${label}: ${what}`,
        kind,
        effect: statement.Effect,
        policy,
        changed: Statement.length > 0 ? { ...policy.document, Statement } : null,
      };
    };
    const actions = list(statement.Action);
    const resources = list(statement.Resource);
    return [
      ...actions.map((action) =>
        change(
          'action',
          action,
          actions.length > 1 ? { ...statement, Action: without(actions, action) } : undefined,
        ),
      ),
      ...(resources.length > 1
        ? resources.map((resource) =>
            change('resource', resource, { ...statement, Resource: without(resources, resource) }),
          )
        : []),
      // A policy of a resource speaks of nothing else, whatever its statements name.
      ...(policy.kind !== 'resource' && resources.length > 0 && !resources.includes('*')
        ? [change('any resource', 'any resource', { ...statement, Resource: '*' })]
        : []),
      ...Object.entries(statement.Condition ?? {}).flatMap(([operator, keys]) =>
        Object.entries(keys).flatMap(([key, value]) => {
          const { [key]: _, ...others } = keys;
          const values = list(value);
          const withKeys = (changed: typeof keys) => ({
            ...statement,
            Condition: { ...statement.Condition, [operator]: changed },
          });
          return [
            change('condition', `${operator} ${key}`, withKeys(others)),
            ...(values.length > 1
              ? values.map((one) =>
                  change(
                    'value',
                    `${operator} ${key} ${one}`,
                    withKeys({ ...others, [key]: without(values, one) as string[] }),
                  ),
                )
              : []),
          ];
        }),
      ),
    ];
  });
}

/** A policy without one action; statements that had no other are gone. */
export function withoutAction(document: PolicyDocument, action: string): PolicyDocument {
  const Statement = list(document.Statement).flatMap((statement) => {
    const others = without(list(statement.Action), action);
    return others.length > 0 ? [{ ...statement, Action: others }] : [];
  });
  return { ...document, Statement };
}

const without = <T>(all: T[], one: T) => all.filter((other) => other !== one);

/** One decision, as it can be taken again. */
export interface Evidence {
  principal: Principal;
  request: AccessRequest;
  allowed: boolean;
}

/** The decisions of recorded calls, each kind once. */
export function evidenceOf(calls: readonly RecordedCall[]): Evidence[] {
  const found = new Map<string, Evidence>();
  for (const { principal, decisions } of calls) {
    for (const { request, decision } of decisions) {
      const {
        'aws:CurrentTime': _,
        'aws:EpochTime': __,
        'aws:TokenIssueTime': ___,
        ...context
      } = request.context;
      const { arn, userId, service, tags, sessionPolicy } = principal;
      const { action, resource, resourcePolicies = [] } = request;
      const key = JSON.stringify([
        [arn, userId, service, tags, sessionPolicy],
        [action, resource, context, resourcePolicies.map(textOf)],
        decision.allowed,
      ]);
      if (!found.has(key)) {
        found.set(key, { principal, request, allowed: decision.allowed });
      }
    }
  }
  return [...found.values()];
}

const texts = new WeakMap<PolicyDocument, string>();
function textOf(document: PolicyDocument): string {
  const text = texts.get(document) ?? JSON.stringify(document);
  texts.set(document, text);
  return text;
}

/** Whether the policy has a say in this decision. */
export function concerns({ kind, owner, document }: PlacedPolicy, { principal, request }: Evidence): boolean {
  switch (kind) {
    case 'identity':
      return principal.arn === owner;
    case 'managed':
      return principal.identityPolicies.some((policy) => textOf(policy) === textOf(document));
    case 'trust':
      return request.resourcePolicyKind === 'role trust policy' && request.resource === owner;
    case 'resource':
      return request.resource === owner;
  }
}

/**
 * The decision as it would be if the policy were changed, or (`changed` left out) as the template has it: the recorded
 * one may have been another for a while.
 */
export function allowedUnder(
  policy: PlacedPolicy,
  { principal, request }: Evidence,
  changed: PolicyDocument | null = policy.document,
): boolean {
  const replaced = (documents: PolicyDocument[]) =>
    documents.flatMap((document) =>
      textOf(document) === textOf(policy.document) ? list(changed) : [document],
    );
  switch (policy.kind) {
    case 'identity':
      return evaluate({ ...principal, identityPolicies: [...list(changed), ...list(policy.beside)] }, request)
        .allowed;
    case 'managed':
      return evaluate({ ...principal, identityPolicies: replaced(principal.identityPolicies) }, request)
        .allowed;
    case 'trust':
    case 'resource':
      return evaluate(principal, { ...request, resourcePolicies: list(changed) }).allowed;
  }
}

/** Grants that appear in no flow and no attack, with the reason why they are there. */
export const justified: [pattern: RegExp, reason: string][] = [
  [
    /^ApiGatewayLogsRole\/trust: sts:AssumeRole$/,
    'API Gateway writes access logs; log delivery is not modelled',
  ],
  [
    /^\w+FunctionRole\/WriteOwnLogs: (logs:(CreateLogStream|PutLogEvents)|any resource)$/,
    'Lambda writes the log of the function as its role; log delivery is not modelled',
  ],
  [
    /^Certificate(Rollout|Request)StateMachineRole\/SetUpLogDelivery: logs:/,
    'Step Functions sets up vended logs as the role (Step Functions developer guide, "Logging using CloudWatch Logs")',
  ],
  [
    /^Certificate(Rollout|Request)StateMachineRole\/SendTraces: xray:/,
    'Step Functions traces as the role (Step Functions developer guide, "AWS X-Ray and Step Functions"); not modelled',
  ],
  [
    /^ReconcileFunctionRole\/(WatchRequests: |StartRollout: .*:acm-export-certificate-request$)/,
    'only where the execution of a request died: tests/functions has that',
  ],
  [
    /^(WriteValidationRecordsFunctionRole\/|CertificateRequestStateMachineRole\/InvokeFunctions: .*write-validation-records)/,
    'only with DnsAccounts: tests/functions has that',
  ],
  [
    /^DeploymentsApiFunction\/DeploymentsApiFunction\w+Permissionv1: lambda:InvokeFunction$/,
    'SAM makes one for each route, and that of /certificates/{CertName} covers the longer paths, too: IAM asks the caller for the path',
  ],
  [
    /^RolloutRole\/StartInstallation: .*:automation-definition\//,
    'the older name of an Automation document, which the Service Authorization Reference still lists for the action',
  ],
];

/** Actions of session policies that no session of that function needed, by function. */
export function unusedInSessions(calls: readonly RecordedCall[]): string[] {
  const granted = new Map<string, Set<string>>();
  const used = new Map<string, Set<string>>();
  const add = (to: Map<string, Set<string>>, source: string, action: string) =>
    to.set(source, (to.get(source) ?? new Set()).add(action));
  for (const { source, principal, decisions } of calls) {
    if (!principal.sessionPolicy) {
      continue;
    }
    const actions = list(principal.sessionPolicy.Statement).flatMap(({ Action }) => list(Action));
    for (const action of actions) {
      add(granted, source, action);
    }
    for (const { request, decision } of decisions) {
      if (decision.allowed && actions.includes(request.action)) {
        add(used, source, request.action);
      }
    }
  }
  return [...granted].flatMap(([source, actions]) =>
    [...actions].filter((action) => !used.get(source)?.has(action)).map((action) => `${source}: ${action}`),
  );
}
