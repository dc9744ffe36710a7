import type { PublicResolver } from './resolver.ts';

/** Asks each question once: names of one certificate have the same parents. For one call of a function. */
export function remembering(resolver: PublicResolver): PublicResolver {
  return {
    caa: once((name) => resolver.caa(name)),
    ns: once((name) => resolver.ns(name)),
    cname: once((name) => resolver.cname(name)),
  };
}

/** @param ask gets every argument once; those that come meanwhile wait for the same answer. */
export function once<T>(ask: (name: string) => Promise<T>): (name: string) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return (name) => {
    const answer = known.get(name) ?? ask(name);
    known.set(name, answer);
    return answer;
  };
}
