import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

export interface SignedRequest {
  method: string;
  /** As it stood on the request line, still encoded, without the query. */
  path: string;
  /** As it stood on the request line, still encoded, without the question mark. */
  query: string;
  /** Names in lower case, as node:http gives them. */
  headers: Record<string, string | string[] | undefined>;
  body: Uint8Array | string;
}

export interface Credential {
  secretAccessKey: string;
  sessionToken?: string;
}

/** `name` is AWS's error code, for example MissingAuthenticationToken or RequestExpired. */
export class SignatureError extends Error {
  readonly statusCode: number;
  constructor(name: string, message: string, statusCode = 403) {
    super(message);
    this.name = name;
    this.statusCode = statusCode;
  }
}

const fiveMinutes = 5 * 60 * 1000; // "within five minutes of the time stamp" (IAM User Guide, SigV4 elements)

/** Their protocol is older than the JSON ones, and so are the names of their errors. */
const queryServices = new Set(['sns', 'sts']);

/**
 * Verifies AWS Signature Version 4 in the Authorization header (IAM User Guide, "Create a signed AWS API
 * request") and gives what the signature is scoped to. Query-string signatures and S3's rules are not
 * accepted. Throws SignatureError, named as the service names it.
 */
export function verifySignature(
  request: SignedRequest,
  credentialFor: (accessKeyId: string) => Credential | undefined,
  now: Date,
): { accessKeyId: string; region: string; service: string } {
  const authorization = parseAuthorization(header(request, 'authorization'));
  const { accessKeyId, date, region, service, signedHeaders, signature } = authorization;
  const credential = credentialFor(accessKeyId);
  const token = header(request, 'x-amz-security-token');
  if (!credential || !sameText(token ?? '', credential.sessionToken ?? '')) {
    throw new SignatureError(
      queryServices.has(service) ? 'InvalidClientTokenId' : 'UnrecognizedClientException',
      'The security token included in the request is invalid.',
    );
  }

  const timestamp = header(request, 'x-amz-date') ?? '';
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(timestamp) ?? [];
  if (!year || timestamp.slice(0, 8) !== date) {
    throw incomplete(
      "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of 'X-Amz-Date'.",
    );
  }
  const signedAt = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (!(Math.abs(now.getTime() - signedAt) <= fiveMinutes)) {
    throw new SignatureError(
      'RequestExpired',
      `Signature expired: ${timestamp} is not within five minutes of ${now.toISOString()}. Check the clock.`,
    );
  }

  const mustBeSigned = ['host', ...Object.keys(request.headers).filter((name) => name.startsWith('x-amz-'))];
  const unsigned = mustBeSigned.find((name) => !signedHeaders.includes(name));
  const mismatch = queryServices.has(service) ? 'SignatureDoesNotMatch' : 'InvalidSignatureException';
  if (unsigned) throw new SignatureError(mismatch, `Header ${unsigned} must be a signed header.`);

  const key = [date, region, service, 'aws4_request'].reduce<Buffer | string>(
    (previous, part) => createHmac('sha256', previous).update(part).digest(),
    `AWS4${credential.secretAccessKey}`,
  );
  const matches = canonicalRequests(request, signedHeaders).map((canonical) => {
    const scope = `${date}/${region}/${service}/aws4_request`;
    const toSign = ['AWS4-HMAC-SHA256', timestamp, scope, sha256(canonical)].join('\n');
    return sameText(createHmac('sha256', key).update(toSign).digest('hex'), signature);
  });
  if (!matches.includes(true)) {
    throw new SignatureError(
      mismatch,
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
    );
  }
  return { accessKeyId, region, service };
}

interface Authorization {
  accessKeyId: string;
  date: string;
  region: string;
  service: string;
  signedHeaders: string[];
  signature: string;
}

function parseAuthorization(value: string | undefined): Authorization {
  if (!value) throw new SignatureError('MissingAuthenticationToken', 'Missing Authentication Token');
  const [algorithm = '', rest = ''] = value.split(/ (.*)/s);
  if (algorithm !== 'AWS4-HMAC-SHA256') throw incomplete(`Unsupported algorithm ${algorithm.slice(0, 40)}.`);
  const parts = new Map(rest.split(',').map((part) => part.trim().split(/=(.*)/s) as [string, string]));
  const scope = (parts.get('Credential') ?? '').split('/');
  const [accessKeyId = '', date = '', region = '', service = '', end] = scope;
  const signedHeaders = (parts.get('SignedHeaders') ?? '').split(';');
  const signature = parts.get('Signature') ?? '';
  if (scope.length !== 5 || end !== 'aws4_request' || [accessKeyId, date, region, service].includes('')) {
    throw incomplete('Credential must be <key id>/<date>/<region>/<service>/aws4_request.');
  }
  if (!/^[0-9a-f]{64}$/.test(signature)) throw incomplete('Signature must be 64 hexadecimal digits.');
  if (signedHeaders.some((name) => name === '' || name !== name.toLowerCase())) {
    throw incomplete('SignedHeaders must be names in lower case.');
  }
  return { accessKeyId, date, region, service, signedHeaders, signature };
}

/**
 * The forms that clients sign. AWS asks for each path segment "URI-encoded twice"; the SDKs and botocore do so,
 * curl 7 signs the path as it sends it. Both are accepted unless the path holds an encoded percent sign: there
 * one client's form of a path is another's form of a different one. Likewise for the query string.
 */
function canonicalRequests(request: SignedRequest, signedHeaders: string[]): string[] {
  const path = withoutDots(request.path);
  const paths = new Set([path.split('/').map(encode).join('/'), ...(/%25/.test(path) ? [] : [path])]);
  const pairs = request.query === '' ? [] : request.query.split('&').map((pair) => pair.split(/=(.*)/s));
  const sorted = (form: (text: string) => string) =>
    pairs
      .map(([name = '', value = '']) => [form(name), form(value)] as const)
      .sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
      .map((pair) => pair.join('='))
      .join('&');
  const queries = new Set([sorted((text) => encode(decode(text))), sorted((text) => text)]);
  const names = [...signedHeaders].sort();
  const headers = names.map((name) => `${name}:${header(request, name) ?? ''}\n`).join('');
  return [...paths].flatMap((canonicalPath) =>
    [...queries].map((query) =>
      [request.method, canonicalPath || '/', query, headers, names.join(';'), sha256(request.body)].join(
        '\n',
      ),
    ),
  );
}

/** RFC 3986, as the SDKs do before they sign: no empty segments, no `.`, no `..`. */
function withoutDots(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}${segments.length > 0 && path.endsWith('/') ? '/' : ''}`;
}

const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Values of one name joined by commas, runs of spaces made one. */
function header({ headers }: SignedRequest, name: string): string | undefined {
  const value = headers[name];
  if (value === undefined) return undefined;
  const values = Array.isArray(value) ? value : [value];
  return values.map((text) => text.trim().replace(/ +/g, ' ')).join(',');
}

const incomplete = (message: string) => new SignatureError('IncompleteSignature', message, 400);
const sha256 = (data: Uint8Array | string) => createHash('sha256').update(data).digest('hex');
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** Takes the same time wherever the texts differ, and whatever their lengths. */
function sameText(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(sha256(a), 'hex'), Buffer.from(sha256(b), 'hex'));
}
