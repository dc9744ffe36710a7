/** @param make gets every argument once; who comes later, or meanwhile, gets the same answer. */
export function once<T, K = string>(make: (key: K) => T): (key: K) => T {
  const known = new Map<K, T>();
  return (key) => {
    const answer = known.has(key) ? (known.get(key) as T) : make(key);
    known.set(key, answer);
    return answer;
  };
}
