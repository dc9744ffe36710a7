import { type AccessRequest, evaluate, type PolicyDocument, type Principal } from 'local-cloud/iam';
import { type Deployed, managedPoliciesOf, resourcePoliciesOf, rolesOf } from 'local-cloud/templates';

/** A call that this system makes, and must be able to make. */
export interface Need {
  /** `function <name>`, `node`, `aws <service>` … */
  source: string;
  principal: Principal;
  request: AccessRequest;
}

/**
 * The one policy that is judged. The others allow everything, so that none hides what another one lets through.
 * `identity`: of the role. `session`: with which a function limits the rollout role. `resource`: the trust of a role, or the
 * policy of a function, queue or bundle. `grant`: the same for a principal that has no policy of its own.
 */
export type Layer = 'identity' | 'session' | 'resource' | 'grant';

/** What a condition must look at: almost the same value of a key, or none at all, must be denied. */
export interface Guard {
  /** Of `<layer> <who> <action> <resource>`. */
  calls: RegExp;
  key: string;
  /** Default: the key left out, and all that is almost its value. */
  values?: (undefined | string)[];
  /** Whole values that must be denied as well, unless one is what the call has. */
  also?: string[];
}

/** A call that differs from a needed one in one thing. */
interface Change {
  /** What differs stands between `<` and `>`, how it differs after it. */
  name: string;
  principal?: Principal;
  request?: Partial<AccessRequest>;
}

export interface Findings {
  /** `<layer> <who> <action> <resource>` of each need. */
  needed: string[];
  /** Needs that a policy does not allow. */
  refused: string[];
  /** Neighbours that a policy allows. */
  allowed: string[];
  /** How many neighbours there were. */
  tried: number;
}

const EVERYTHING: PolicyDocument = {
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
};
const STRANGER = '999988887777';

/** A text without what is made up for each run. */
export function shapeOf(text: string): string {
  return text
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g, 'ID')
    .replace(/[0-9a-f]{24}(-try|-\d+(-try)?|-[A-Za-z0-9]{6})?(?![A-Za-z0-9])/g, 'ID')
    .replace(/\bm?i-[0-9a-f]{8,17}/g, 'ID');
}

/** The last letter of an id is another one; what a service has added to it stays. */
const otherId = (id: string) =>
  id.replace(/[0-9a-f](?=(-[A-Za-z0-9]{6})?$)/, (letter) => (letter === 'f' ? 'e' : 'f'));

/** Texts that are almost the same, and how they differ. */
function nearTo(text: string): { how: string; text: string }[] {
  const other = text === text.toUpperCase() ? text.toLowerCase() : text.toUpperCase();
  const isMadeUp = shapeOf(text) === 'ID';
  const hyphens = isMadeUp ? [] : [...text.matchAll(/-/g)].map(({ index }) => index + 1);
  const near = [
    { how: 'longer', text: `${text}x` },
    { how: 'shorter', text: text.slice(0, -1) },
    { how: 'begun otherwise', text: `x${text}` },
    { how: 'in other letters', text: other },
    ...(isMadeUp ? [{ how: 'but for one letter', text: otherId(text) }] : []),
    ...hyphens.flatMap((end) =>
      [`${text.slice(0, end)}other`, `${text.slice(0, end)}two-${text.slice(end)}`].map((made) => ({
        how: `other after ${text.slice(0, end)}`,
        text: made,
      })),
    ),
    ...hyphens.map((end) => ({
      how: `longer after ${text.slice(0, end - 1)}`,
      text: `${text.slice(0, end - 1)}x${text.slice(end - 1)}`,
    })),
  ];
  return near.filter((made) => made.text !== '' && made.text !== text);
}

/** Of an ARN: another Region, another account, and each part of its name in turn. Of any other text: what is almost the same. */
function variationsOf(text: string): { name: string; text: string }[] {
  const [arn, partition, service, region = '', account = '', ...rest] = text.split(':');
  if (arn !== 'arn')
    return nearTo(text).map(({ how, text: near }) => ({ name: `<${text}> ${how}`, text: near }));
  const resource = rest.join(':');
  const as = (name: string, part: { region?: string; account?: string; resource?: string }) => ({
    name,
    text: [
      arn,
      partition,
      service,
      part.region ?? region,
      part.account ?? account,
      part.resource ?? resource,
    ].join(':'),
  });
  const shape = shapeOf(resource);
  // Separators stay what they are.
  const parts = resource.split(/([:/])/);
  const last = parts.length - 1;
  const withPart = (index: number, near: string) =>
    parts.map((part, at) => (at === index ? near : part)).join('');
  const named = (index: number, how: string) => `${shapeOf(withPart(index, `<${parts[index]}>`))} ${how}`;
  return [
    ...(region
      ? ['us-east-1', `${region}2`].map((other) => as(`${shape} of another <Region>`, { region: other }))
      : []),
    ...(account ? [as(`${shape} of another <account>`, { account: STRANGER })] : []),
    ...parts.flatMap((part, index) =>
      index % 2 === 0
        ? nearTo(part).map(({ how, text: near }) =>
            as(named(index, how), { resource: withPart(index, near) }),
          )
        : [],
    ),
    ...['/x', ':x'].map((more) => as(named(last, 'longer'), { resource: `${resource}${more}` })),
  ];
}

const PRINCIPAL_TAG = 'aws:PrincipalTag/';
const USER_ID = 'aws:userid';

/** Functions that open sessions in target accounts: the role that several of them take on grants by these names. */
export const SESSION_FUNCTIONS = [
  'deployments-api',
  'export-certificate',
  'start-installation',
  'check-installation',
  'reconcile',
] as const;
/** A deployment of which nothing is known. */
const SOME_ID = 'fedcba9876543210fedcba98';
export const sessionNameOf = (name: string, id = SOME_ID) => `${name}-${id}`;

const isRolloutRole = (arn: string) => /:role\/acm-export-rollout-[a-z]+-[a-z]+-\d$/.test(arn);
const nameInUserId = ({ userId = '' }: Principal) => userId.slice(userId.indexOf(':') + 1);
const withSessionName = (principal: Principal, name: string): Principal => ({
  ...principal,
  userId: `AROAOFSOMEROLE:${name}`,
});

/** The policies of stacks, and what they allow. */
class Judge {
  readonly #identity = new Map<string, PolicyDocument[]>();
  readonly #resource = new Map<string, PolicyDocument>();
  readonly #ofNodes: PolicyDocument[];

  constructor(stacks: readonly Deployed[]) {
    for (const stack of stacks) {
      const managed = managedPoliciesOf(stack);
      for (const role of rolesOf(stack)) {
        const attached = role.managedPolicyArns.flatMap((arn) => managed.get(arn) ?? []);
        this.#identity.set(role.arn, [...role.inlinePolicies, ...attached]);
        this.#resource.set(role.arn, role.trustPolicy);
      }
      for (const [arn, document] of resourcePoliciesOf(stack)) this.#resource.set(arn, document);
    }
    // What the stack attaches to its own roles is none for nodes.
    this.#ofNodes = stacks.flatMap((stack) => {
      const ofRoles = new Set(rolesOf(stack).flatMap(({ managedPolicyArns }) => managedPolicyArns));
      return [...managedPoliciesOf(stack)].flatMap(([arn, policy]) => (ofRoles.has(arn) ? [] : [policy]));
    });
  }

  get roles(): string[] {
    return [...this.#identity.keys()];
  }

  /** The layers that have a say in a need. */
  layersOf(need: Need): Layer[] {
    const { source, principal, request } = need;
    const layers: Layer[] = [];
    if (this.#identityOf(need)) layers.push('identity');
    if (principal.sessionPolicy) layers.push('session');
    // To describe a bundle is denied to nobody whose role may do it.
    if (this.#resourceOf(need) && !/DescribeSecret$/.test(request.action)) layers.push('resource');
    if (source === 'reader') layers.push('grant');
    return layers;
  }

  /** @param change of the need; none for the need itself. */
  allows(layer: Layer, need: Need, change: Omit<Change, 'name'> = {}): boolean {
    const { sessionPolicy, ...principal } = change.principal ?? need.principal;
    const request = { ...need.request, ...change.request };
    const ownPolicies =
      layer === 'identity' ? (this.#identityOf({ ...need, principal }) ?? []) : [EVERYTHING];
    const isOfResource = layer === 'resource' || layer === 'grant';
    const resourcePolicies = [(isOfResource && this.#resourceOf(need)) || openTo(principal, request)];
    const judged = {
      ...principal,
      identityPolicies: layer === 'grant' ? [] : ownPolicies,
      ...(layer === 'session' && sessionPolicy && { sessionPolicy }),
    };
    return evaluate(judged, { ...request, resourcePolicies }).allowed;
  }

  #identityOf({ source, principal }: Need): PolicyDocument[] | undefined {
    return source.startsWith('node') ? this.#ofNodes : this.#identity.get(principal.arn);
  }

  #resourceOf({ source, request }: Need): PolicyDocument | undefined {
    const { action, resource, resourcePolicies = [], resourcePolicyKind } = request;
    // Trust decides who takes a role on, and nothing else that is done with it.
    if (/:role\//.test(resource)) {
      return resourcePolicyKind === 'role trust policy' ? this.#resource.get(resource) : undefined;
    }
    // The functions write the policy of a bundle, and it speaks of those who read.
    const isOfBundle = source === 'reader' || (source.startsWith('node') && /GetSecretValue$/.test(action));
    return isOfBundle ? resourcePolicies[0] : this.#resource.get(resource);
  }
}

/** A policy of a resource that leaves the decision to the account of the caller. */
function openTo({ account }: Principal, { resourcePolicyKind }: AccessRequest): PolicyDocument {
  const Principal = { AWS: `arn:aws:iam::${account}:root` };
  const ofTrust = resourcePolicyKind === 'role trust policy';
  const Statement = { Effect: 'Allow' as const, Principal, Action: '*', ...(!ofTrust && { Resource: '*' }) };
  return { Version: '2012-10-17', Statement };
}

/** Role without Region, the rollout role with the function of the session's name, or in a session the function that opened it. */
function whoOf(layer: Layer, { source, principal }: Need): string {
  // By whichever tag.
  if (source.startsWith('node')) return `node by ${Object.keys(principal.tags).join()}`;
  if (source === 'reader') return source;
  if (principal.service) return principal.service;
  if (layer === 'session') return source.replace(/^function acm-export-/, '');
  const role = principal.arn.replace(/^.*:role\/(acm-export-)?/, '').replace(/-[a-z]+-[a-z]+-\d$/, '');
  if (layer !== 'identity' || !isRolloutRole(principal.arn)) return role;
  return `${role}/${nameInUserId(principal).replace(/-[0-9a-f]{24}$/, '')}`;
}

const callOf = (layer: Layer, need: Need) => `${layer} ${whoOf(layer, need)} ${need.request.action}`;
/** A need in one layer, as guards and findings call it. */
const nameOf = (layer: Layer, need: Need) =>
  `${callOf(layer, need)} ${shapeOf(need.request.resource.replace(/^arn:([^:]*:){4}/, ''))}`;

/** Every neighbour of a need that one layer must deny. */
function changesOf(layer: Layer, need: Need, guards: readonly Guard[]): Change[] {
  const { action, resource } = need.request;
  const ofResource = layer === 'resource' || layer === 'grant';
  return [
    ...[`${action}Too`, `${action.split(':')[0]}:Another`].map((other) => ({
      name: `as <${other}>`,
      request: { action: other },
    })),
    // What the policy of a resource speaks of is this resource, whatever it names.
    ...(resource === '*' || ofResource
      ? []
      : variationsOf(resource).map(({ name, text }) => {
          const resourceAccount = text.split(':')[4] || need.request.resourceAccount;
          return { name, request: { resource: text, resourceAccount } };
        })),
    ...guards.filter(({ calls }) => calls.test(nameOf(layer, need))).flatMap((guard) => guarded(need, guard)),
    ...(ofResource ? othersThan(need) : []),
  ];
}

function guarded(need: Need, { key, values, also = [] }: Guard): Change[] {
  const { principal, request } = need;
  if (key === USER_ID) return sessionNames(principal, also);
  const isTag = key.startsWith(PRINCIPAL_TAG);
  const name = isTag ? key.slice(PRINCIPAL_TAG.length) : key;
  const { [name]: given, ...others } = isTag ? principal.tags : request.context;
  const withValue = (what: string, value: undefined | string | string[]): Change => {
    const changed = { ...others, ...(value !== undefined && { [name]: value }) };
    const shown = `with ${key} ${what}`;
    if (!isTag) return { name: shown, request: { context: changed as AccessRequest['context'] } };
    return { name: shown, principal: { ...principal, tags: changed as Principal['tags'] } };
  };
  if (values)
    return values.map((value) => withValue(value === undefined ? '<left out>' : `<${value}>`, value));
  const near = Array.isArray(given)
    ? given.flatMap((one) =>
        nearTo(one).map(({ how, text }) =>
          withValue(`<${one}> ${how}`, [...given.filter((other) => other !== one), text]),
        ),
      )
    : variationsOf(given ?? '').map(({ name: how, text }) => withValue(shapeOf(how), text));
  const whole = also
    .filter((value) => shapeOf(value) !== shapeOf(String(given)))
    .map((value) => withValue(shapeOf(`<${value}>`), value));
  return [withValue('<left out>', undefined), ...near, ...whole];
}

/** Sessions with almost the same name, with none, and with each of the others. The id of the role before it is AWS's. */
function sessionNames(principal: Principal, also: readonly string[]): Change[] {
  const name = nameInUserId(principal);
  const as = (how: string, other: string): Change => ({
    name: `with ${USER_ID} ${shapeOf(how)}`,
    principal: withSessionName(principal, other),
  });
  const { userId: _, ...nobody } = principal;
  return [
    { name: `with ${USER_ID} <left out>`, principal: nobody },
    ...nearTo(name).map(({ how, text }) => as(`<${name}> ${how}`, text)),
    ...also.filter((other) => shapeOf(other) !== shapeOf(name)).map((other) => as(`<${other}>`, other)),
  ];
}

/** Who else might make the call: another service, who is called almost the same, who has the name elsewhere. */
function othersThan({ principal }: Need): Change[] {
  const { service, arn, account } = principal;
  if (service) {
    const [name = '', ...rest] = service.split('.');
    const others = ['ec2', 'codebuild', `${name}x`].filter((other) => other !== name);
    return others.map((other) => ({
      name: `by <${service}> another service`,
      principal: { ...principal, service: [other, ...rest].join('.') },
    }));
  }
  const { sessionArn: _, ...rest } = principal;
  const as = (how: string, other: string, at = account): Change => ({
    name: `by <${arn.split(':').at(-1)}> ${how}`,
    principal: { ...rest, arn: other, account: at, tags: {} },
  });
  const [, path = '', role = ''] = /^(.*\/)([^/]+)$/.exec(arn) ?? [];
  return [
    ...nearTo(role).map(({ how, text }) => as(how, `${path}${text}`)),
    as('in another account', arn.replace(account, STRANGER), STRANGER),
    as('as a user', arn.replace(':role/', ':user/')),
    as(
      'under another path',
      arn.replace(/[^/]+$/, (own) => `other/${own}`),
    ),
  ];
}

/** Decides every need, and every neighbour of one, under the policies of the stacks. */
export function tryNeighbours(
  needs: readonly Need[],
  stacks: readonly Deployed[],
  guards: readonly Guard[],
): Findings {
  const judge = new Judge(stacks);
  const needed = new Set<string>();
  const refused = new Set<string>();
  const allowed = new Set<string>();
  let tried = 0;
  const distinct = new Map<string, { layer: Layer; need: Need; name: string }>();
  for (const need of needs) {
    for (const layer of judge.layersOf(need)) {
      const name = nameOf(layer, need);
      const policy = layer === 'session' ? shapeOf(JSON.stringify(need.principal.sessionPolicy)) : '';
      distinct.set(`${name} ${policy}`, { layer, need, name });
      needed.add(name);
    }
  }
  for (const { layer, need, name } of distinct.values()) {
    if (!judge.allows(layer, need)) refused.add(name);
    for (const change of changesOf(layer, need, guards)) {
      tried += 1;
      if (judge.allows(layer, need, change)) allowed.add(`${callOf(layer, need)} ${change.name}`);
    }
    const isTrust = layer === 'resource' && need.request.resourcePolicyKind === 'role trust policy';
    if (!(layer === 'identity' || isTrust) || need.source.startsWith('node') || need.principal.service)
      continue;
    for (const principal of otherRoles(need, judge.roles)) {
      const theirs = nameOf(layer, { ...need, source: '', principal });
      tried += 1;
      if (!needed.has(theirs) && judge.allows(layer, need, { principal }))
        allowed.add(`${theirs} as <another role>`);
    }
  }
  return { needed: [...needed], refused: [...refused], allowed: [...allowed], tried };
}

/** Each of the other roles; the rollout role in a session of each function. */
function otherRoles(
  { principal: { sessionPolicy: _, ...own } }: Need,
  roles: readonly string[],
): Principal[] {
  return roles.flatMap((arn) => {
    const [, , , , account = ''] = arn.split(':');
    const principal = { ...own, arn, account };
    if (isRolloutRole(arn)) {
      return SESSION_FUNCTIONS.map((name) => withSessionName(principal, sessionNameOf(name)));
    }
    return arn === own.arn ? [] : [principal];
  });
}
