import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/**
 * An environment in which everything that could lead elsewhere does: proxies in every spelling, whether Node itself
 * heeds them or not, and settings for AWS. `asked` is what came to the proxy, which refuses all.
 */
export async function hostileSurroundings(): Promise<{ env: NodeJS.ProcessEnv; asked: string[] }> {
  const asked: string[] = [];
  const proxy = createServer((socket) => {
    socket.once('data', (text) => {
      asked.push(String(text).split('\r\n', 1)[0] ?? '');
      socket.destroy();
    });
    socket.on('error', () => undefined);
  }).unref();
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const spellings = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'];
  const {
    no_proxy: _lower,
    NO_PROXY: _upper,
    MAKEFLAGS: _flags,
    MFLAGS: _mflags,
    MAKELEVEL: _level,
    ...env
  } = process.env;
  return {
    asked,
    env: {
      ...env,
      ...Object.fromEntries(spellings.map((name) => [name, url])),
      NODE_USE_ENV_PROXY: '1',
      AWS_PROFILE: 'nobody',
      AWS_REGION: 'xx-nowhere-1',
      AWS_DEFAULT_REGION: 'xx-nowhere-1',
      AWS_ENDPOINT_URL: url,
      AWS_ENDPOINT_URL_ACM: url,
      AWS_ENDPOINT_URL_SECRETS_MANAGER: url,
      AWS_ACCESS_KEY_ID: 'AKIAELSEWHERE',
      AWS_SECRET_ACCESS_KEY: 'elsewhere',
      AWS_SESSION_TOKEN: 'elsewhere',
      AWS_CONFIG_FILE: '/nowhere/config',
      AWS_CA_BUNDLE: '/nowhere/ca.pem',
      AWS_USE_FIPS_ENDPOINT: 'true',
      AWS_MAX_ATTEMPTS: '1',
    },
  };
}
