import {
  type Deployment,
  type Finding,
  type FindingKind,
  isServed,
  type NodeRecord,
  normaliseSerial,
  type Serves,
} from './deployment.ts';
import { PATTERNS } from './patterns.ts';

/** A certificate of ours as a node showed it. */
export interface SeenCertificate {
  CertName: string;
  DeploymentId: string;
  /** The highest that the node has seen. */
  RolloutNumber: number;
  /** Of the files; absent where there are none. */
  Serial?: string;
  NotAfter?: string;
  /** `ok`, `missing`, `unfinished` or `damaged:` and what is. */
  Files: string;
  Port?: number;
  /** What the port serves; in words where it serves nothing. */
  Served?: { Serial: string; NotAfter: string } | keyof typeof NOT_SERVED;
}

/** A port that serves a certificate which is none of ours on that node. */
export interface SeenEndpoint {
  Port: number;
  Serial: string;
  NotAfter: string;
  Issuer: string;
  Subject: string;
}

/** What a node showed in one look. */
export interface Look {
  certificates: SeenCertificate[];
  endpoints: SeenEndpoint[];
}

const NOT_SERVED = {
  closed: 'no program listens on it',
  silent: 'it accepts connections and says nothing',
  'no-tls': 'it does not answer in TLS',
} as const;

/** No node has more lines than this. One that was taken over may say anything. */
const MOST_LINES = 64;

const SERIAL = '[0-9A-Fa-f]{1,64}';
const TIME = '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z';
const PORT = '[1-9][0-9]{0,4}';
const fields = (...patterns: string[]) => new RegExp(`^${patterns.map((field) => `(${field})`).join('\t')}$`);
// Groups of the shared patterns are not ours: fields are split at the tab instead of read from groups.
const CERTIFICATE = fields(
  'certificate',
  PATTERNS.CertName,
  `-|${PATTERNS.DeploymentId}`,
  PATTERNS.RolloutNumber,
  `-|${SERIAL}`,
  `-|${TIME}`,
  'ok|missing|unfinished|damaged:[a-z-]{1,32}',
  `-|${PORT}=(${Object.keys(NOT_SERVED).join('|')}|${SERIAL}=${TIME})`,
);
const ENDPOINT = fields('endpoint', PORT, `-|${SERIAL}`, `-|${TIME}`, '[ -~]{0,100}', '[ -~]{0,100}');
const END = fields('end', '[0-9]{1,3}', '[0-9]{1,3}');

const isTime = (text: string) => text === '-' || !Number.isNaN(Date.parse(text));

/**
 * Reads what the look script printed (ssm-documents/look-at-node). All of it or nothing: of an answer that was cut, or that
 * the script did not write, no line counts.
 */
export function parseLook(output: string): Look | undefined {
  const lines = output.replace(/\n$/, '').split('\n');
  const end = lines.pop() ?? '';
  if (!END.test(end) || lines.length > 2 * MOST_LINES) {
    return undefined;
  }
  const look: Look = { certificates: [], endpoints: [] };
  let endpoints = 0;
  for (const line of lines) {
    const parts = line.split('\t');
    if (CERTIFICATE.test(line)) {
      look.certificates.push(certificateFrom(parts));
    } else if (ENDPOINT.test(line)) {
      endpoints += 1;
      const [, port, serial = '', NotAfter = '', Issuer = '', Subject = ''] = parts;
      // One that openssl could not read serves nothing that could be told.
      if (serial !== '-' && NotAfter !== '-') {
        look.endpoints.push({
          Port: Number(port),
          Serial: normaliseSerial(serial),
          NotAfter,
          Issuer,
          Subject,
        });
      }
    } else {
      return undefined;
    }
  }
  const [, counted, countedEndpoints] = end.split('\t').map(Number);
  const names = new Set(look.certificates.map(({ CertName }) => CertName));
  const times = [...look.endpoints, ...look.certificates].map(({ NotAfter = '-' }) => NotAfter);
  const isWhole =
    counted === look.certificates.length &&
    countedEndpoints === endpoints &&
    names.size === counted &&
    times.every(isTime);
  return isWhole ? look : undefined;
}

function certificateFrom(parts: string[]): SeenCertificate {
  const [, CertName = '', DeploymentId = '', number, serial = '-', NotAfter = '-', Files = ''] = parts;
  const [port = '-', served = '', until = ''] = (parts[7] ?? '-').split('=');
  return {
    CertName,
    DeploymentId,
    RolloutNumber: Number(number),
    ...(serial === '-' || NotAfter === '-' ? {} : { Serial: normaliseSerial(serial), NotAfter }),
    Files,
    ...(port === '-' ? {} : { Port: Number(port) }),
    ...(served in NOT_SERVED ? { Served: served as keyof typeof NOT_SERVED } : {}),
    ...(until && isTime(until) ? { Served: { Serial: normaliseSerial(served), NotAfter: until } } : {}),
  };
}

/** What a look changes in the record of a node; absent where nothing changes. */
export interface Sight {
  Serves?: Serves;
  /** `null`: it is as it should be. */
  Finding?: Finding | null;
}

/**
 * What a look says of a deployment on a node. It may contradict only what the node said itself: a node that never said
 * that it holds the version has no finding, as its own outcome tells what is wrong.
 *
 * @param look undefined where the node did not answer, or not in the script's words.
 * @param at when the look was sent; ISO 8601.
 */
export function sightOf(
  deployment: Deployment,
  record: NodeRecord,
  look: Look | undefined,
  at: string,
): Sight {
  const seen = look?.certificates.find(({ CertName }) => CertName === deployment.CertName);
  // An installation that has not ended says by itself what became of it.
  if (seen?.Files === 'unfinished') {
    return {};
  }
  const own = seen?.DeploymentId === deployment.DeploymentId ? seen : undefined;
  const serves = own && servesFrom(own, record, at);
  const found = isServed(record, deployment.Observed) ? findingFrom(seen, own, record, look) : undefined;
  const isPortUnasked = own?.Port === undefined && ['foreign', 'silent'].includes(record.Finding?.Kind ?? '');
  const finding = isPortUnasked && !found ? record.Finding : findingAfter(record.Finding, found, at);
  return {
    ...(serves && !isSame(serves, record.Serves) ? { Serves: serves } : {}),
    ...(finding === record.Finding ? {} : { Finding: finding ?? null }),
  };
}

const isSame = (one: Serves, other: Serves | undefined) =>
  one.Serial === other?.Serial && one.NotAfter === other.NotAfter && one.Seen === other.Seen;

/** What it serves: what the port shows; without one, what lies there. A port that is asked in vain shows nothing. */
function servesFrom(own: SeenCertificate, record: NodeRecord, SeenAt: string): Serves | undefined {
  const { Serial, NotAfter, Port, Served } = own;
  const isPort = Port !== undefined;
  const shown = isPort ? Served : Serial && NotAfter ? { Serial, NotAfter } : undefined;
  if (typeof shown !== 'object') {
    return undefined;
  }
  const { VersionId } = shown.Serial === record.Serial ? record : {};
  const { NotBefore } = (shown.Serial === record.Serves?.Serial && record.Serves) || {};
  return {
    ...shown,
    ...(VersionId ? { VersionId } : {}),
    ...(NotBefore ? { NotBefore } : {}),
    SeenAt,
    Seen: isPort ? 'port' : 'files',
  };
}

type Found = Pick<Finding, 'Kind' | 'Text'> | undefined;

function findingFrom(
  seen: SeenCertificate | undefined,
  own: SeenCertificate | undefined,
  { Serial = '' }: NodeRecord,
  look: Look | undefined,
): Found {
  if (!look) {
    return { Kind: 'unseen', Text: 'The look got no readable answer.' };
  }
  if (!seen || seen.Files === 'missing') {
    return { Kind: 'missing', Text: 'The files of the certificate are gone.' };
  }
  if (!own) {
    const owner = seen.DeploymentId === '-' ? 'a record that is damaged' : `deployment ${seen.DeploymentId}`;
    return { Kind: 'taken', Text: `The name belongs to ${owner} there.` };
  }
  if (own.Files !== 'ok') {
    return { Kind: 'damaged', Text: `The files are not as they were installed (${own.Files.slice(8)}).` };
  }
  if (own.Serial === undefined) {
    return { Kind: 'unseen', Text: 'The look could not read the certificate there.' };
  }
  if (own.Serial !== Serial) {
    return { Kind: 'older', Text: `The files are those of serial ${own.Serial}, not of ${Serial}.` };
  }
  if (typeof own.Served === 'string') {
    return { Kind: 'silent', Text: `Port ${own.Port} serves nothing: ${NOT_SERVED[own.Served]}.` };
  }
  return own.Served && own.Served.Serial !== Serial
    ? { Kind: 'foreign', Text: `Port ${own.Port} serves serial ${own.Served.Serial}, not ${Serial}.` }
    : undefined;
}

/** A look that reached less than the one before clears nothing. */
const REACHED: Partial<Record<FindingKind, number>> = { unseen: 0, silent: 1 };
const reachOf = (kind: FindingKind) => REACHED[kind] ?? 2;

function findingAfter(before: Finding | undefined, found: Found, at: string): Finding | undefined {
  if (!found || (before && reachOf(found.Kind) < reachOf(before.Kind))) {
    return found && before;
  }
  if (before?.Kind === found.Kind && before.Text === found.Text) {
    return before;
  }
  return before?.Kind === found.Kind ? { ...before, Text: found.Text } : { ...found, Since: at };
}

/** What installing again may mend. A stopped server is not started, a name is not taken from another deployment. */
const HEALED: ReadonlySet<FindingKind> = new Set<FindingKind>(['older', 'missing', 'damaged', 'foreign']);

export const isHealed = (finding: Finding | undefined) => finding !== undefined && HEALED.has(finding.Kind);

/** Whether a finding says that something is wrong, and not only that nobody could look. */
export const isDrift = (finding: Finding | undefined) => finding !== undefined && finding.Kind !== 'unseen';
