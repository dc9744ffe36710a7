import { type Deployment, type NodeRecord, timestamp } from '../domain/deployment.ts';
import { type Endpoint, endpointChanges, keyOf } from '../domain/endpoint.ts';
import { isNamed } from '../domain/errors.ts';
import { endpointAlert, findingAlert, refusedLooks } from '../domain/finding.ts';
import { isDrift, type Look, sightOf } from '../domain/look.ts';
import { type ManagedNode, obstacleOf, ofListed } from '../domain/nodes.ts';
import { wasTold } from '../domain/notification.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { isOpen, kindOf, type LookKind, type LookRecord } from '../inventory/looks.ts';
import type { Notify } from '../notifications/notifier.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { logger } from '../runtime/observability.ts';
import { findLook, type LookCalls, readLook, sendLook } from '../target-account/look.ts';
import { listNodesByKey } from '../target-account/nodes.ts';
import { targetArns } from '../target-account/session.ts';

export interface LookDeps {
  inventory: Inventory;
  now: () => Date;
  prefix: string;
  partition: string;
  /** Minutes from one look to the next. */
  lookMinutes: Record<LookKind, number>;
  /** Whether looks name ports that serve what nobody registered. */
  discover: boolean;
  /** Whether people are told when such a certificate ends soon. */
  tellOfEndpoints: boolean;
  notify: Notify;
}

/** Where a look goes: the deployments of one account and Region. */
export interface Place extends LookCalls {
  name: string;
  deployments: readonly Deployment[];
}

/** A look whose answers are there. */
interface Round {
  kind: LookKind;
  record: LookRecord;
  /** When it was sent. */
  at: string;
  looks: Map<string, Look | undefined>;
}

/** A finding that people may have to be told of. */
export interface Found {
  deployment: Deployment;
  record: NodeRecord;
}

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Half of the time between two sweeps: a sweep that comes seconds early does not wait for the next one. */
const SLACK_MS = 2.5 * MINUTE_MS;
/** A node that has not answered then will not: longer than a command may take to reach it, and to run. */
const PATIENCE_MS = 8 * MINUTE_MS;
/** Findings written side by side. */
const WRITES_AT_ONCE = 10;

const KINDS: readonly LookKind[] = ['ec2', 'hybrid'];

/** The looks at one account and Region in one sweep. */
export class LookRound {
  private readonly place: Place;
  private readonly deps: LookDeps;
  private rounds: Round[] = [];
  private records = new Map<LookKind, LookRecord>();

  constructor(place: Place, deps: LookDeps) {
    this.place = place;
    this.deps = deps;
  }

  /** Reads the answers to what the sweeps before have sent. */
  async collect(): Promise<void> {
    const { name } = this.place;
    for (const kind of KINDS) {
      const record = await this.deps.inventory.looks.get(name, kind);
      this.records.set(kind, record);
      if (!isOpen(record)) {
        continue;
      }
      const at = record.SentAt as string;
      const commandIds = record.CommandIds ?? (await findLook(this.documentName(), at, this.place));
      const { looks, isGoingOn } = await readLook(commandIds, this.place);
      if (!isGoingOn || this.deps.now().getTime() >= Date.parse(at) + PATIENCE_MS) {
        this.rounds.push({ kind, record, at, looks });
      }
    }
  }

  /**
   * Notes what the looks showed of a deployment's nodes. During a rollout, and of what was sent before one has ended, they
   * say nothing.
   *
   * @returns the records as they are now.
   */
  async apply(
    deployment: Deployment,
    records: NodeRecord[],
    listed: readonly ManagedNode[],
  ): Promise<NodeRecord[]> {
    const { Running, Observed, LastHealing } = deployment;
    const now = new Map(records.map((record) => [record.NodeId, record]));
    const last = [Observed?.At ?? '', LastHealing?.At ?? ''].sort().at(-1) as string;
    for (const { kind, at, looks } of this.rounds) {
      if (Running || at <= last) {
        continue;
      }
      const seen = ofListed(records, listed).filter(({ NodeId }) => kindOf(NodeId) === kind);
      await inParallel(seen, WRITES_AT_ONCE, async (record) => {
        const sight = sightOf(deployment, record, looks.get(record.NodeId), at);
        if (Object.keys(sight).length > 0) {
          now.set(record.NodeId, await this.deps.inventory.nodes.noteSight(record, sight));
        }
      });
    }
    return [...now.values()];
  }

  /** Closes what was collected: its answers were noted everywhere. */
  async close(registered: ReadonlySet<string>): Promise<void> {
    for (const { kind, record, at, looks } of this.rounds) {
      if (this.deps.discover) {
        await this.noteEndpoints(kind, at, looks, registered);
      }
      await this.deps.inventory.looks.note(this.place.name, kind, record, { CompletedAt: at });
    }
  }

  /**
   * Sends the looks that are due. One that was refused is sent again by the next sweep.
   *
   * @returns why the account refused them, twice in a row: a refusal may pass.
   */
  async send(): Promise<string | undefined> {
    const due = KINDS.filter((kind) => {
      const { SentAt, Refused } = this.records.get(kind) ?? {};
      const minutes = this.deps.lookMinutes[kind];
      const isFirst = SentAt === undefined || Refused !== undefined;
      const next = isFirst ? 0 : Date.parse(SentAt) + minutes * MINUTE_MS - SLACK_MS;
      return minutes > 0 && this.deps.now().getTime() >= next;
    });
    if (due.length === 0) {
      return undefined;
    }
    const nodes = await this.listAll();
    for (const kind of due) {
      const own = nodes.filter(({ NodeId }) => kindOf(NodeId) === kind);
      // Also to none: it is noted when there were none.
      const refused = await this.sendTo(own, kind);
      if (refused) {
        return refused;
      }
    }
    return undefined;
  }

  private async sendTo(nodes: ManagedNode[], kind: LookKind): Promise<string | undefined> {
    const { name } = this.place;
    const { looks } = this.deps.inventory;
    const before = this.records.get(kind) ?? {};
    const opened = await looks.open(name, kind, before);
    if (!opened) {
      return undefined;
    }
    const ready = nodes.filter((node) => !obstacleOf(node)).map(({ NodeId }) => NodeId);
    let CommandIds: string[];
    try {
      CommandIds = await sendLook(this.documentName(), ready, this.deps.discover, this.place);
    } catch (error) {
      if (!isNamed(error, 'AccessDeniedException', 'InvalidDocument')) {
        throw error;
      }
      // A member stack of the edition before has neither the document nor the right: nothing else suffers from that.
      logger.warn(`No look at ${name}`, error);
      await looks.note(name, kind, opened, { Refused: error.message });
      return before.Refused && error.message;
    }
    await looks.note(name, kind, opened, { CommandIds });
    return undefined;
  }

  private async noteEndpoints(
    kind: LookKind,
    at: string,
    looks: Map<string, Look | undefined>,
    registered: ReadonlySet<string>,
  ): Promise<void> {
    const { name } = this.place;
    const { endpoints } = this.deps.inventory;
    const [Account = '', Region = ''] = name.split('/');
    const all = await endpoints.all(name);
    const known = all.filter(({ NodeId }) => kindOf(NodeId) === kind);
    const unasked = known.filter(({ NodeId }) => !looks.has(NodeId)).map(({ NodeId }) => NodeId);
    const listed = unasked.length > 0 ? await this.listAll() : [];
    const gone = new Set(unasked).difference(new Set(listed.map(({ NodeId }) => NodeId)));
    const own = new Map([...looks].filter(([NodeId]) => kindOf(NodeId) === kind));
    const { put, drop } = endpointChanges(known, { Account, Region, looks: own, gone, at, registered });
    await endpoints.put(name, put);
    await endpoints.drop(name, drop);
    if (this.deps.tellOfEndpoints) {
      const changed = new Set([...put, ...drop].map(keyOf));
      await this.tellOfEndpoints([...known.filter((endpoint) => !changed.has(keyOf(endpoint))), ...put]);
    }
  }

  /** One message for all that end within 30 days and were not told of. */
  private async tellOfEndpoints(endpoints: Endpoint[]): Promise<void> {
    const now = this.deps.now();
    const soon = timestamp(new Date(now.getTime() + 30 * DAY_MS));
    const untold = endpoints
      .filter(({ NotAfter, ToldAt, MissedAt }) => NotAfter <= soon && !ToldAt && !MissedAt)
      .sort((a, b) => (a.NotAfter < b.NotAfter ? -1 : 1));
    if (untold.length > 0) {
      const [first] = untold as [Endpoint];
      await this.deps.notify(
        `endpoint#${first.NodeId}#${first.Port}#${first.Serial}`,
        endpointAlert(untold, now),
      );
      const told = untold.map((endpoint) => ({ ...endpoint, ToldAt: timestamp(now) }));
      await this.deps.inventory.endpoints.put(this.place.name, told);
    }
  }

  /** Every node with one of the tag keys, also with values that nobody registered. */
  private listAll(): Promise<ManagedNode[]> {
    const keys = new Set(this.place.deployments.map(({ TargetTagKey }) => TargetTagKey));
    return listNodesByKey(this.place.ssm, [...keys], this.place.limit);
  }

  private documentName(): string {
    return targetArns(this.deps, this.place.deployments[0] as Deployment).lookDocumentName;
  }
}

/** The findings of nodes that are listed: without those that only say that nobody could look. */
export function driftOf(records: readonly NodeRecord[], listed: readonly ManagedNode[]): NodeRecord[] {
  return ofListed(records, listed).filter(({ Finding }) => isDrift(Finding));
}

/** Tells people of findings, once a day of each, and of all that are alike in one message. @returns how many messages. */
export async function tellOfFindings(found: readonly Found[], deps: LookDeps): Promise<number> {
  const now = deps.now();
  const untold = found.filter(({ record: { Finding } }) => !wasTold(Finding?.ToldAt, now));
  const kinds = Map.groupBy(untold, ({ record }) => record.Finding?.Kind);
  for (const [kind, alike] of kinds) {
    const [{ deployment, record }] = alike as [Found];
    await deps.notify(`finding#${kind}#${deployment.DeploymentId}#${record.NodeId}`, findingAlert(alike));
    await inParallel(alike, WRITES_AT_ONCE, ({ deployment: { DeploymentId }, record: { NodeId } }) =>
      deps.inventory.nodes.noteFinding(DeploymentId, NodeId, { ToldAt: timestamp(now) }),
    );
  }
  return kinds.size;
}

/** Tells people, once a day, which accounts refused the look. @returns how many messages. */
export async function tellOfRefusals(refused: readonly [string, string][], deps: LookDeps): Promise<number> {
  if (refused.length > 0) {
    await deps.notify('look-refused', refusedLooks(refused, deps.now()));
  }
  return Math.min(1, refused.length);
}
