/** @param make gets every argument once; who comes later, or meanwhile, gets the same answer. */
export function once<T>(make: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>();
  return (name) => {
    const answer = known.has(name) ? (known.get(name) as T) : make(name);
    known.set(name, answer);
    return answer;
  };
}
