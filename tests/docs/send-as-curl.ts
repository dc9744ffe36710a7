import { parseArgs } from 'node:util';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import type { Answer } from './documented.ts';

/** Sends what curl would send for these words, without curl. Throws at an option that is not known here. */
export async function sendAsCurl(words: string[]): Promise<Answer> {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: {
      'aws-sigv4': { type: 'string' },
      noproxy: { type: 'string' },
      user: { type: 'string', short: 'u' },
      header: { type: 'string', short: 'H', multiple: true },
      data: { type: 'string', short: 'd' },
      request: { type: 'string', short: 'X' },
      silent: { type: 'boolean', short: 's' },
      'show-error': { type: 'boolean', short: 'S' },
    },
  });
  const [, , region = '', service = ''] = values['aws-sigv4']?.split(':') ?? [];
  const [accessKeyId = '', secretAccessKey = ''] = values.user?.split(':') ?? [];
  const { data: body, request: method = body === undefined ? 'GET' : 'POST' } = values;
  const url = new URL(positionals[0] ?? '');
  const given = Object.fromEntries(
    (values.header ?? []).map((line) => {
      const [name = '', ...text] = line.split(':');
      return [name.toLowerCase(), text.join(':').trim()];
    }),
  );
  // curl sends no header that is empty.
  const headers = Object.fromEntries(Object.entries(given).filter(([, text]) => text !== ''));
  const credentials = { accessKeyId, secretAccessKey };
  const signed = await new SignatureV4({ service, region, credentials, sha256: Sha256 }).sign({
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    port: Number(url.port),
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: { host: url.host, ...headers },
    ...(body === undefined ? {} : { body }),
  });
  const { host: _, ...sent } = signed.headers;
  const response = await fetch(url, { method, headers: sent, ...(body === undefined ? {} : { body }) });
  return { status: response.status, body: await response.text() };
}
