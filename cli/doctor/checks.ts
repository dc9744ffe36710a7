import { credentialsFault, firstLine, isDenied } from '../faults.ts';

/** What one check found. Read in this order: what, where, since when, what to do. */
export interface Check {
  result: 'ok' | 'wrong' | 'unknown';
  what: string;
  where: string;
  /** ISO 8601. */
  since?: string;
  todo?: string;
}

/** Collects what the checks find. Two deployments may share a certificate, an account or a node: each is looked at once. */
export class Checks {
  readonly found: Check[] = [];
  readonly #asked = new Map<string, Promise<unknown>>();

  ok(where: string, what: string): void {
    this.#add({ result: 'ok', what, where });
  }

  wrong(where: string, what: string, todo: string, since?: string | Date): void {
    const at = since instanceof Date ? since.toISOString() : since;
    this.#add({ result: 'wrong', what, where, todo, ...(at === undefined ? {} : { since: at }) });
  }

  /** A check that could not be made passes nothing. */
  unknown(where: string, what: string, todo: string): void {
    this.#add({ result: 'unknown', what, where, todo });
  }

  #add(check: Check): void {
    const isThere = this.found.some(
      ({ what, where, result }) => what === check.what && where === check.where && result === check.result,
    );
    if (!isThere) this.found.push(check);
  }

  /** Does this once for a key. */
  once<T>(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.#asked.get(key);
    if (known) return known as Promise<T>;
    const asked = work();
    this.#asked.set(key, asked);
    return asked;
  }

  /**
   * Makes a call of AWS for a check. Where AWS refuses it, the check is unknown and says which permission is missing.
   *
   * @param what the check, as in "whether …".
   * @param missing names of errors that mean: there is no such thing.
   * @returns 'missing' where there is none, undefined where that is not known.
   */
  async asked<T>(
    where: string,
    what: string,
    permission: string,
    call: () => Promise<T>,
    ...missing: string[]
  ): Promise<T | 'missing' | undefined> {
    try {
      return await call();
    } catch (error) {
      const { name, message } = error as Error;
      if (missing.includes(name)) return 'missing';
      // Without credentials no check can be made: one sentence says so.
      if (/^(CredentialsProviderError|TokenProviderError|ExpiredToken(Exception)?)$/.test(name)) {
        throw credentialsFault(error, undefined);
      }
      this.unknown(
        where,
        `It was not checked ${what}: ${isDenied(error) ? 'these credentials may not look' : `${name}: ${firstLine(message)}`}.`,
        isDenied(error) ? `Give them the permission ${permission}.` : 'Repeat the command.',
      );
      return undefined;
    }
  }
}
