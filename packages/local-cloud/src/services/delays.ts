import type { Clock } from './clock.ts';

/**
 * How many milliseconds pass until a change is seen, by default: AWS says of each that it takes a while, and names no
 * figure but that of the agent. UNCONFIRMED: the other three figures, chosen so that they are longer than usual.
 */
export const DELAYS = {
  /**
   * Roles: that there is one, its tags, trust and policies. IAM user guide, "Troubleshoot IAM": "Changes that I make are
   * not always immediately visible", tags for access control included. About 4 seconds were measured (OFFENSAI, 2025).
   */
  iam: 15_000,
  /**
   * Tags of nodes, secrets and certificates, for targets, filters and conditions. EC2 developer guide, "Eventual
   * consistency in the Amazon EC2 API". Tags that come with a resource are seen with it.
   */
  tags: 15_000,
  /**
   * Global secondary indexes, and tables where a read does not ask for ConsistentRead. DynamoDB developer guide, "Read
   * consistency" and "Using Global Secondary Indexes": "within a fraction of a second, under normal conditions", longer
   * in "unlikely failure scenarios".
   */
  indexes: 5_000,
  /**
   * The list of managed nodes: new ones, those that are gone, PingStatus, agents. The SSM Agent reports every five
   * minutes (amazon-ssm-agent, HealthFrequencyMinutes); those that are gone stay listed a while (aws-ssm-tools#7).
   */
  nodes: 300_000,
};

type Kind = keyof typeof DELAYS;
/** True: the sizes of DELAYS. Otherwise what is named is delayed: by milliseconds, or by what the function says. */
export type DelayOptions = true | Partial<Record<Kind, number | (() => number)>>;

/** When a change is seen: at a time of `Clock.elapsed`, or when `settle` was called after it. */
export interface Due {
  at: number;
  order: number;
}

/** What is seen late in a cloud. */
export class Delays {
  readonly iam: Lag;
  readonly tags: Lag;
  readonly indexes: Lag;
  readonly nodes: Lag;
  #changes = 0;
  #settled = 0;

  constructor(options: DelayOptions | undefined, clock: Pick<Clock, 'elapsed'>) {
    const sizes = options === true ? DELAYS : (options ?? {});
    const lag = (kind: Kind) => {
      const size = sizes[kind] ?? 0;
      const due = (): Due => {
        this.#changes += 1;
        return {
          at: clock.elapsed() + (typeof size === 'function' ? size() : size),
          order: this.#changes,
        };
      };
      return new Lag(size !== 0, due, ({ at, order }) => order <= this.#settled || at <= clock.elapsed());
    };
    this.iam = lag('iam');
    this.tags = lag('tags');
    this.indexes = lag('indexes');
    this.nodes = lag('nodes');
  }

  /** Whatever was changed so far is seen from now on. */
  settle(): void {
    this.#settled = this.#changes;
  }
}

interface Change {
  before: unknown;
  due: Due;
}

/** One kind of delay. Changes are seen in the order in which they were made. */
export class Lag {
  readonly isOn: boolean;
  readonly due: () => Due;
  readonly isSeen: (due: Due) => boolean;
  readonly #changes = new WeakMap<object, Map<PropertyKey, Change[]>>();

  constructor(isOn: boolean, due: () => Due, isSeen: (due: Due) => boolean) {
    this.isOn = isOn;
    this.due = due;
    this.isSeen = isSeen;
  }

  /** From now on, what is assigned to these properties is seen late by those who look through this lag. */
  watch<T extends object>(object: T, ...names: (keyof T)[]): T {
    if (!this.isOn) return object;
    const all = new Map<PropertyKey, Change[]>();
    this.#changes.set(object, all);
    for (const name of names) {
      let value = object[name];
      Object.defineProperty(object, name, {
        enumerable: true,
        get: () => value,
        set: (changed) => {
          const unseen = (all.get(name) ?? []).filter(({ due }) => !this.isSeen(due));
          all.set(name, [...unseen, { before: value, due: this.due() }]);
          value = changed;
        },
      });
    }
    return object;
  }

  /** A property as others see it. */
  seen<T extends object, Name extends keyof T>(object: T, name: Name): T[Name] {
    const unseen = this.#changes
      .get(object)
      ?.get(name)
      ?.find(({ due }) => !this.isSeen(due));
    return unseen ? (unseen.before as T[Name]) : object[name];
  }

  /** An object as others see it. */
  view<T extends object>(object: T): T {
    const names = [...(this.#changes.get(object)?.keys() ?? [])] as (keyof T)[];
    if (names.length === 0) return object;
    return { ...object, ...Object.fromEntries(names.map((name) => [name, this.seen(object, name)])) };
  }
}
