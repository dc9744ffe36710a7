import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type PublicResolver, publicResolver } from '../../functions/dns/resolver.ts';
import { dns } from '../../functions/runtime/clients.ts';
import { NameServer } from './name-server.ts';

let server: NameServer;
let resolver: PublicResolver;

// As functions make it.
const resolverOf = (address: string): PublicResolver => publicResolver(dns({ servers: [address] }));

beforeAll(async () => {
  server = await NameServer.start();
  resolver = resolverOf(server.address);
});
afterAll(() => server.close());

const caa = (name: string, flags: number, tag: string, value: string) =>
  ({ type: 'CAA', name, data: { flags, tag, value } }) as never;

test('CAA records are read as RFC 8659 says', async () => {
  const name = 'example.com';
  server.say('CAA', name, [
    caa(name, 0, 'issue', 'amazon.com; a=b'),
    caa(name, 128, 'Issue', ';'),
    caa(name, 1, 'iodef', 'mailto:a@example.com'),
    caa(name, 129, 'tbs', 'unknown'),
  ]);
  expect(await resolver.caa(name)).toEqual({
    found: [
      { critical: false, tag: 'issue', value: 'amazon.com; a=b' },
      { critical: true, tag: 'issue', value: ';' },
      { critical: false, tag: 'iodef', value: 'mailto:a@example.com' },
      { critical: true, tag: 'tbs', value: 'unknown' },
    ],
  });
});

test('CAA records are read through a CNAME', async () => {
  server.say('CAA', 'alias.example.com', [
    { type: 'CNAME', name: 'alias.example.com', data: 'real.example.net' },
    caa('real.example.net', 0, 'issue', 'amazon.com'),
  ]);
  const found = [{ critical: false, tag: 'issue', value: 'amazon.com' }];
  expect(await resolver.caa('alias.example.com')).toEqual({ found });
});

test('a CNAME that leads to nothing is no CAA record', async () => {
  server.say('CAA', 'loose.example.com', [
    { type: 'CNAME', name: 'loose.example.com', data: 'real.example.net' },
  ]);
  expect(await resolver.caa('loose.example.com')).toEqual({ none: true });
});

test('name servers and CNAMEs are read in lower case', async () => {
  server.say('NS', 'example.com', [
    { type: 'NS', name: 'example.com', data: 'NS-1.AwsDns-00.com' },
    { type: 'NS', name: 'example.com', data: 'ns-2.awsdns-00.net' },
  ]);
  server.say('CNAME', '_x.example.com', [
    { type: 'CNAME', name: '_x.example.com', data: '_Y.acm-validations.aws' },
  ]);
  expect(await resolver.ns('example.com')).toEqual({ found: ['ns-1.awsdns-00.com', 'ns-2.awsdns-00.net'] });
  expect(await resolver.cname('_x.example.com')).toEqual({ found: ['_y.acm-validations.aws'] });
});

test.each(['caa', 'ns', 'cname'] as const)('%s: no such name and no such record are none', async (type) => {
  server.say(type.toUpperCase(), 'nothing.example.com', 'NXDOMAIN');
  expect(await resolver[type]('nothing.example.com')).toEqual({ none: true });
  expect(await resolver[type]('empty.example.com')).toEqual({ none: true });
});

test.each(['caa', 'ns', 'cname'] as const)('%s: a server that fails has not answered', async (type) => {
  server.say(type.toUpperCase(), 'broken.example.com', 'SERVFAIL');
  server.say(type.toUpperCase(), 'refused.example.com', 'REFUSED');
  expect(await resolver[type]('broken.example.com')).toEqual({ failed: expect.stringContaining('SERVFAIL') });
  expect(await resolver[type]('refused.example.com')).toEqual({ failed: expect.stringContaining('REFUSED') });
});

test('a server that is silent is asked twice, and has not answered', async () => {
  server.say('CAA', 'silent.example.com', 'silence');
  expect(await resolver.caa('silent.example.com')).toEqual({ failed: 'no answer in time' });
  expect(server.asked.filter((question) => question === 'CAA silent.example.com')).toHaveLength(2);
});

test('a server that nobody runs has not answered', async () => {
  const gone = await NameServer.start();
  const { address } = gone;
  gone.close();
  expect(await resolverOf(address).cname('example.com')).toEqual({ failed: expect.any(String) });
});

test('a CAA record without a value is not read, and does no harm to other questions that are under way', async () => {
  server.say('CAA', 'empty.example.com', [caa('empty.example.com', 0, 'issue', '')]);
  server.say('NS', 'waiting.example.com', 'silence');
  const waiting = resolver.ns('waiting.example.com');
  expect(await resolver.caa('empty.example.com')).toEqual({ failed: 'an answer that cannot be read' });
  expect(await waiting).toEqual({ failed: 'no answer in time' });
});

test.each(['critical', 'type'])('a tag with the name of a field of Node is critical: %s', async (tag) => {
  const name = `${tag}.example.com`;
  server.say('CAA', name, [caa(name, 128, tag, 'x')]);
  expect(await resolver.caa(name)).toEqual({ found: [expect.objectContaining({ critical: true, tag: '' })] });
});

test('an answer is not kept from one question to the next', async () => {
  expect(await resolver.cname('_new.example.com')).toEqual({ none: true });
  server.say('CNAME', '_new.example.com', [
    { type: 'CNAME', name: '_new.example.com', ttl: 300, data: 'a.b' },
  ]);
  expect(await resolver.cname('_new.example.com')).toEqual({ found: ['a.b'] });
});
