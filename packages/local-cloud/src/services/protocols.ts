import type { IncomingHttpHeaders } from 'node:http';
import { parseXML } from '@aws-sdk/xml-builder';
import type { InvokeResult } from './lambda.ts';
import { ServiceError } from './service.ts';

/** One HTTP request to the endpoint. */
export interface WireRequest {
  method: string;
  /** Still encoded, without the query. */
  path: string;
  query: string;
  headers: IncomingHttpHeaders;
  rawHeaders: string[];
  body: Buffer;
}

export interface WireResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** How one AWS service speaks HTTP. */
interface Protocol {
  /** How the service names what is wrong with a signature. */
  signatureErrors: 'json' | 'query';
  /** The operation as in `RecordedCall.operation`, with its input. */
  parse(request: WireRequest, service: string): { operation: string; input: unknown };
  answer(output: unknown, operation: string): WireResponse;
  refuse(error: ServiceError): WireResponse;
}

/** AWS JSON 1.0 and 1.1: the operation in X-Amz-Target, times in seconds. */
const json: Protocol = {
  signatureErrors: 'json',
  parse: ({ headers, body }) => ({
    operation: String(headers['x-amz-target']),
    input: parseJson(body.toString() || '{}'),
  }),
  answer: (output) => ({
    status: 200,
    headers: { 'content-type': 'application/x-amz-json-1.1' },
    body: JSON.stringify(toWire(output ?? {})),
  }),
  // Whatever the refusal, JSON services answer 400; only faults of their own are 500.
  refuse: ({ name, message, status, fields }) => ({
    status: status >= 500 ? status : 400,
    headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-errortype': name },
    body: JSON.stringify({ __type: name, message, ...fields }),
  }),
};

const queryNamespaces: Record<string, string> = {
  cloudformation: 'http://cloudformation.amazonaws.com/doc/2010-05-15/',
  ec2: 'http://ec2.amazonaws.com/doc/2016-11-15/',
  iam: 'https://iam.amazonaws.com/doc/2010-05-08/',
  sts: 'https://sts.amazonaws.com/doc/2011-06-15/',
  sns: 'http://sns.amazonaws.com/doc/2010-03-31/',
};

/** AWS Query: a form with Action, answered in XML. */
const query: Protocol = {
  signatureErrors: 'query',
  parse: ({ body }, service) => {
    const { Action = '', Version: _version, ...input } = nested(new URLSearchParams(body.toString()));
    return { operation: `${service}.${Action}`, input };
  },
  answer: (output, operation) => {
    const [service = '', action] = operation.split('.');
    const result = `<${action}Result>${toXml(output ?? {})}</${action}Result>`;
    const metadata = `<ResponseMetadata><RequestId>${crypto.randomUUID()}</RequestId></ResponseMetadata>`;
    const body = `<${action}Response xmlns="${queryNamespaces[service] ?? ''}">${result}${metadata}</${action}Response>`;
    return { status: 200, headers: { 'content-type': 'text/xml' }, body };
  },
  refuse: ({ name, message, status }) => {
    const type = status >= 500 ? 'Receiver' : 'Sender';
    const error = `<Error><Type>${type}</Type><Code>${name}</Code><Message>${escapeXml(message)}</Message></Error>`;
    const body = `<ErrorResponse>${error}<RequestId>${crypto.randomUUID()}</RequestId></ErrorResponse>`;
    return { status, headers: { 'content-type': 'text/xml' }, body };
  },
};

/**
 * EC2's own form of Query (Smithy, "AWS EC2 query protocol"): lists in requests stand under the names of one element, lists
 * in answers as items of a set, and names in answers begin small.
 */
const ec2: Protocol = {
  signatureErrors: 'query',
  parse: (request, service) => {
    const { operation, input } = query.parse(request, service);
    return {
      operation,
      input: renamed(input, { Filter: 'Filters', Value: 'Values', InstanceId: 'InstanceIds' }),
    };
  },
  answer: (output, operation) => {
    const action = operation.split('.')[1];
    const body = `<${action}Response xmlns="${queryNamespaces.ec2}"><requestId>${crypto.randomUUID()}</requestId>${toEc2Xml(output)}</${action}Response>`;
    return { status: 200, headers: { 'content-type': 'text/xml' }, body };
  },
  refuse: ({ name, message, status }) => {
    const error = `<Errors><Error><Code>${name}</Code><Message>${escapeXml(message)}</Message></Error></Errors>`;
    const body = `<Response>${error}<RequestID>${crypto.randomUUID()}</RequestID></Response>`;
    return { status, headers: { 'content-type': 'text/xml' }, body };
  },
};

/** What an element of a list is called in Route 53's XML. */
const ROUTE53_ITEMS: Record<string, string> = {
  Changes: 'Change',
  HostedZones: 'HostedZone',
  NameServers: 'NameServer',
  ResourceRecords: 'ResourceRecord',
  ResourceRecordSets: 'ResourceRecordSet',
  VPCs: 'VPC',
};
const ROUTE53_NAMESPACE = 'https://route53.amazonaws.com/doc/2013-04-01/';

/** Routes of Route 53, and what their query and body are called. */
const ROUTE53_ROUTES: [method: string, path: RegExp, operation: string, id: string][] = [
  ['GET', /^hostedzonesbyname$/, 'ListHostedZonesByName', ''],
  ['GET', /^hostedzone\/([^/]+)$/, 'GetHostedZone', 'Id'],
  ['GET', /^hostedzone\/([^/]+)\/rrset$/, 'ListResourceRecordSets', 'HostedZoneId'],
  ['POST', /^hostedzone\/([^/]+)\/rrset\/?$/, 'ChangeResourceRecordSets', 'HostedZoneId'],
  ['GET', /^change\/([^/]+)$/, 'GetChange', 'Id'],
];
const ROUTE53_QUERY: Record<string, string> = {
  dnsname: 'DNSName',
  hostedzoneid: 'HostedZoneId',
  identifier: 'StartRecordIdentifier',
  maxitems: 'MaxItems',
  name: 'StartRecordName',
  type: 'StartRecordType',
};

/** REST with XML, of which only Route 53 is here. */
const route53: Protocol = {
  signatureErrors: 'query',
  parse: ({ method, path, query: search, body }) => {
    for (const [wanted, pattern, operation, idName] of ROUTE53_ROUTES) {
      const found = pattern.exec(path.replace('/2013-04-01/', ''));
      if (method !== wanted || !found) continue;
      const [, id] = found;
      const asked = [...new URLSearchParams(search)].map(([name, value]) => [
        ROUTE53_QUERY[name] ?? name,
        value,
      ]);
      return {
        operation: `route53.${operation}`,
        input: {
          ...Object.fromEntries(asked),
          ...(id ? { [idName]: decodeURIComponent(id) } : {}),
          ...(body.length > 0 ? xmlBody(body.toString()) : {}),
        },
      };
    }
    return { operation: `route53.${method} ${path}`, input: {} };
  },
  answer: (output, operation) => {
    const name = `${operation.split('.')[1]}Response`;
    const body = `<?xml version="1.0"?>\n<${name} xmlns="${ROUTE53_NAMESPACE}">${toXml(output ?? {}, ROUTE53_ITEMS)}</${name}>`;
    return { status: 200, headers: { 'content-type': 'text/xml' }, body };
  },
  refuse: (error) => query.refuse(error),
};

/** The members in the root of a body. Throws InvalidInput where it is no XML. */
function xmlBody(text: string): Record<string, unknown> {
  try {
    const [root] = Object.values(parseXML(text)) as Record<string, unknown>[];
    return fromXml(root ?? {}) as Record<string, unknown>;
  } catch {
    throw new ServiceError('InvalidInput', 'Invalid XML');
  }
}

function fromXml(value: unknown, name = ''): unknown {
  const item = ROUTE53_ITEMS[name];
  if (item) {
    const items = (value as Record<string, unknown>)[item];
    return items === undefined ? [] : [items].flat().map((one) => fromXml(one));
  }
  if (name === 'TTL' && /^\d+$/.test(String(value))) return Number(value);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== 'xmlns')
      .map(([key, member]) => [key, fromXml(member, key)]),
  );
}

function renamed(value: unknown, names: Record<string, string>): unknown {
  if (Array.isArray(value)) return value.map((item) => renamed(item, names));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [names[name] ?? name, renamed(member, names)]),
  );
}

/** Names on the wire of what DescribeInstances answers, where they are others than the member with a small letter. */
const EC2_NAMES: Record<string, string> = {
  Reservations: 'reservationSet',
  Instances: 'instancesSet',
  Tags: 'tagSet',
  State: 'instanceState',
};

function toEc2Xml(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((item) => `<item>${toEc2Xml(item)}</item>`).join('');
  if (typeof value !== 'object' || value === null) return escapeXml(String(value));
  return Object.entries(value)
    .map(([key, member]) => {
      const name = EC2_NAMES[key] ?? key.charAt(0).toLowerCase() + key.slice(1);
      return `<${name}>${toEc2Xml(member)}</${name}>`;
    })
    .join('');
}

/** The REST protocol of Lambda, of which only Invoke is used. */
const lambda: Protocol = {
  signatureErrors: 'json',
  parse: ({ method, path, query: search, headers, body }) => {
    const [, name] = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(path) ?? [];
    if (!name || method !== 'POST') return { operation: `lambda.${method} ${path}`, input: {} };
    const Qualifier = new URLSearchParams(search).get('Qualifier');
    const input = {
      FunctionName: decodeURIComponent(name),
      InvocationType: headers['x-amz-invocation-type'] ?? 'RequestResponse',
      Payload: body.toString(),
      ...(Qualifier && Qualifier !== '$LATEST' ? { Qualifier } : {}),
    };
    return { operation: 'lambda.Invoke', input };
  },
  answer: (output) => {
    const { StatusCode, FunctionError, ExecutedVersion, Payload } = output as InvokeResult;
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (ExecutedVersion) headers['x-amz-executed-version'] = ExecutedVersion;
    if (FunctionError) headers['x-amz-function-error'] = FunctionError;
    return { status: StatusCode, headers, body: Payload };
  },
  refuse: ({ name, message, status }) => ({
    status,
    headers: { 'content-type': 'application/json', 'x-amzn-errortype': name },
    body: JSON.stringify({ Type: status >= 500 ? 'Service' : 'User', Message: message }),
  }),
};

/** For services of which nothing is known but that they speak REST: clients find the code in the header or in XML. */
export function refuseRest(error: ServiceError): WireResponse {
  const { headers, ...answer } = query.refuse(error);
  return { ...answer, headers: { ...headers, 'x-amzn-errortype': error.name } };
}

/** The protocol of a request, by its form and by the service that its signature is for. */
export function protocolOf(
  { method, headers, path }: WireRequest,
  service: string | undefined,
): Protocol | 'rest-api' {
  if (service === 'execute-api') return 'rest-api';
  if (headers['x-amz-target']) return json;
  if (path.startsWith('/2015-03-31/functions/')) return lambda;
  if (service === 'route53' || path.startsWith('/2013-04-01/')) return route53;
  if (method !== 'POST' || path !== '/') return 'rest-api';
  return service === 'ec2' ? ec2 : query;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ServiceError('SerializationException', 'The request body is not JSON.');
  }
}

/** Times travel as seconds since 1970. */
function toWire(value: unknown): unknown {
  if (value instanceof Date) return value.getTime() / 1000;
  if (Array.isArray(value)) return value.map(toWire);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, toWire(member)]));
}

/** @param items by the name of a list, what its elements are called; otherwise `member`. */
function toXml(value: unknown, items: Record<string, string> = {}, name = ''): string {
  if (value instanceof Date) return value.toISOString();
  const item = items[name] ?? 'member';
  if (Array.isArray(value)) return value.map((one) => `<${item}>${toXml(one, items)}</${item}>`).join('');
  if (typeof value !== 'object' || value === null) return escapeXml(String(value));
  return Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([key, member]) => `<${key}>${toXml(member, items, key)}</${key}>`)
    .join('');
}

function escapeXml(text: string): string {
  return text.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** `Tags.member.1.Key=a` becomes `{Tags: [{Key: 'a'}]}`. */
function nested(form: URLSearchParams): Record<string, unknown> {
  // biome-ignore lint/suspicious/noExplicitAny: a tree of unknown depth
  const root: any = Object.create(null);
  for (const [name, value] of form) {
    const parts = name.split('.').filter((part) => part !== 'member');
    const last = parts.pop() ?? '';
    let place = root;
    for (const part of parts) {
      place[part] ??= Object.create(null);
      place = place[part];
    }
    place[last] = value;
  }
  return withLists(root) as Record<string, unknown>;
}

function withLists(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, member]) => [key, withLists(member)] as const);
  const isList = entries.length > 0 && entries.every(([key]) => /^\d+$/.test(key));
  return isList
    ? entries.sort(([a], [b]) => Number(a) - Number(b)).map(([, member]) => member)
    : Object.fromEntries(entries);
}
