/** Says to the endpoint for which host of AWS a request is: fetch sets `host` itself. */
export const HOST_HEADER = 'x-local-cloud-host';

export const isOfAws = (hostname: string): boolean => /\.amazonaws\.com(\.cn)?$/.test(hostname);

/** `fetch` as a function on AWS has it: the names of AWS's own hosts lead to the endpoint of the local cloud. */
export function throughEndpoint(original: typeof fetch, endpoint: string): typeof fetch {
  return (input, init) => {
    const { url } = new Request(input, init);
    const { hostname, host, pathname, search } = new URL(url);
    if (!isOfAws(hostname)) return original(input, init);
    const headers = new Headers(init?.headers);
    headers.set(HOST_HEADER, host);
    return original(`${endpoint}${pathname}${search}`, { ...init, headers });
  };
}
