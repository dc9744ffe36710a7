import { promises as dns } from 'node:dns';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { PublicDns, type RecordData, type ServedZone } from '../../src/services/public-dns.ts';
import { ACCOUNT, allow, OTHER_ACCOUNT, REGION, signedCall, testCloud, trust } from './test-cloud.ts';

const zoneOf = (name: string, nameServers: string[], records: Record<string, RecordData[]>): ServedZone => ({
  name,
  nameServers,
  records: () => [
    ...[...nameServers].map((data) => ({ name, type: 'NS' as const, ttl: 60, data })),
    ...Object.entries(records).flatMap(([key, values]) => {
      const [type, at = ''] = key.split(' ');
      return values.map((data) => ({ name: at, type: type as 'A', ttl: 60, data }));
    }),
  ],
});
const ours = ['ns-1.awsdns-1.com', 'ns-2.awsdns-2.net'];
const theirs = ['ns-8.awsdns-8.com', 'ns-9.awsdns-9.net'];

describe('public DNS', () => {
  let publicDns: PublicDns;
  beforeEach(() => {
    publicDns = new PublicDns();
  });
  const asked = (name: string, type: string) => {
    const { code, records } = publicDns.query(name, type);
    return records.length > 0 ? records.map(({ data }) => data) : code;
  };

  test('answers what was said, NXDOMAIN for what nobody has, and nothing for a type that is not there', () => {
    publicDns.say('www.example.com', 'A', ['192.0.2.1']);
    publicDns.say('example.com', 'CAA', [{ critical: 0, issue: 'amazon.com' }]);
    expect(asked('WWW.example.com.', 'A')).toEqual(['192.0.2.1']);
    expect(asked('example.com', 'CAA')).toEqual([{ critical: 0, issue: 'amazon.com' }]);
    expect(asked('www.example.com', 'CAA')).toBe('NOERROR');
    expect(asked('com', 'CAA')).toBe('NOERROR');
    expect(asked('a.www.example.com', 'A')).toBe('NXDOMAIN');
    publicDns.unsay('www.example.com');
    expect(asked('www.example.com', 'A')).toBe('NXDOMAIN');
  });

  test('asks a zone only where a delegation leads to its servers', () => {
    publicDns.serve(zoneOf('example.com', ours, { 'A www.example.com': ['192.0.2.1'] }));
    expect(asked('www.example.com', 'A')).toBe('NXDOMAIN');
    publicDns.delegate('example.com', ['ns.elsewhere.test']);
    expect(asked('www.example.com', 'A')).toBe('NXDOMAIN');
    expect(asked('example.com', 'NS')).toEqual(['ns.elsewhere.test']);
    publicDns.delegate('example.com', ours.slice(1));
    expect(asked('www.example.com', 'A')).toEqual(['192.0.2.1']);
    // What a resolver tells are the zone's own servers, not those of the delegation.
    expect(asked('example.com', 'NS')).toEqual(ours);
  });

  test('of two zones of one name that answers to which the delegation leads', () => {
    publicDns.serve(zoneOf('example.com', ours, { 'A www.example.com': ['192.0.2.1'] }));
    publicDns.serve(zoneOf('example.com', theirs, { 'A www.example.com': ['192.0.2.8'] }));
    publicDns.delegate('example.com', theirs);
    expect(asked('www.example.com', 'A')).toEqual(['192.0.2.8']);
  });

  test('goes on to the zone below by its NS records; servers that do not hold it make SERVFAIL', () => {
    publicDns.delegate('example.com', ours);
    publicDns.serve(
      zoneOf('example.com', ours, { 'NS shop.example.com': theirs, 'NS lame.example.com': theirs }),
    );
    publicDns.serve(zoneOf('shop.example.com', theirs, { 'A www.shop.example.com': ['192.0.2.8'] }));
    expect(asked('www.shop.example.com', 'A')).toEqual(['192.0.2.8']);
    expect(asked('shop.example.com', 'NS')).toEqual(theirs);
    expect(asked('lame.example.com', 'NS')).toBe('SERVFAIL');
    expect(asked('www.lame.example.com', 'A')).toBe('SERVFAIL');
  });

  test('follows CNAMEs, also into another zone, and not for ever', () => {
    publicDns.delegate('example.com', ours);
    publicDns.serve(
      zoneOf('example.com', ours, {
        'CNAME www.example.com': ['cdn.test'],
        'CNAME loop.example.com': ['loop.example.com'],
      }),
    );
    publicDns.say('cdn.test', 'CAA', [{ critical: 0, issue: ';' }]);
    expect(asked('www.example.com', 'CNAME')).toEqual(['cdn.test']);
    expect(asked('www.example.com', 'CAA')).toEqual(['cdn.test', { critical: 0, issue: ';' }]);
    expect(asked('loop.example.com', 'A')).toBe('SERVFAIL');
  });

  test('uses a wildcard for names that do not exist, and for no other', () => {
    publicDns.delegate('example.com', ours);
    publicDns.serve(
      zoneOf('example.com', ours, { 'A *.example.com': ['192.0.2.1'], 'TXT b.there.example.com': ['"x"'] }),
    );
    expect(asked('new.example.com', 'A')).toEqual(['192.0.2.1']);
    expect(asked('there.example.com', 'A')).toBe('NOERROR');
    expect(asked('a.there.example.com', 'A')).toBe('NXDOMAIN');
  });

  test('says trouble for one type, or for a name and all below it', () => {
    publicDns.say('example.com', 'CAA', 'SERVFAIL');
    expect(asked('example.com', 'CAA')).toBe('SERVFAIL');
    expect(asked('www.example.com', 'CAA')).toBe('NXDOMAIN');
    publicDns.say('example.com', 'any', 'time-out');
    expect(asked('www.example.com', 'CAA')).toBe('time-out');
    expect(asked('example.org', 'CAA')).toBe('NXDOMAIN');
  });

  test('has the errors of node:dns for functions in this process', async () => {
    publicDns.say('example.com', 'CAA', 'SERVFAIL');
    publicDns.say('slow.test', 'any', 'time-out');
    publicDns.say('_a.example.org', 'CNAME', ['b.test']);
    const { resolver } = publicDns;
    expect(await resolver.resolveCname('_a.example.org')).toEqual(['b.test']);
    await expect(resolver.resolveCaa('example.com')).rejects.toMatchObject({ code: 'ESERVFAIL' });
    await expect(resolver.resolveNs('slow.test')).rejects.toMatchObject({ code: 'ETIMEOUT' });
    await expect(resolver.resolveNs('example.org')).rejects.toMatchObject({ code: 'ENODATA' });
    await expect(resolver.resolveNs('none.test')).rejects.toMatchObject({
      code: 'ENOTFOUND',
      hostname: 'none.test',
    });
  });
});

describe('by UDP', () => {
  let publicDns: PublicDns;
  let resolver: dns.Resolver;
  beforeEach(async () => {
    publicDns = new PublicDns();
    resolver = new dns.Resolver({ timeout: 1000, tries: 1 });
    resolver.setServers([await publicDns.address()]);
  });
  afterEach(() => publicDns.stop());

  test('node:dns gets records of each type, and the errors of each trouble', async () => {
    publicDns.say('example.com', 'CAA', [
      { critical: 0, issue: 'amazon.com' },
      { critical: 128, tbs: 'unknown' },
    ]);
    publicDns.say('example.com', 'NS', ['ns1.test', 'ns2.test']);
    publicDns.say('_a1.example.com', 'CNAME', ['_b2.acm-validations.aws']);
    publicDns.say('www.example.com', 'CNAME', ['example.com']);
    expect(await resolver.resolveCaa('example.com')).toEqual([
      { critical: 0, issue: 'amazon.com', type: 'CAA' },
      { critical: 128, tbs: 'unknown', type: 'CAA' },
    ]);
    expect(await resolver.resolveNs('example.com')).toEqual(['ns1.test', 'ns2.test']);
    expect(await resolver.resolveCname('_A1.example.com')).toEqual(['_b2.acm-validations.aws']);
    expect(await resolver.resolveCaa('www.example.com')).toHaveLength(2);
    await expect(resolver.resolveCaa('none.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(resolver.resolveNs('www.example.com')).resolves.toHaveLength(2);
    await expect(resolver.resolveCname('example.com')).rejects.toMatchObject({ code: 'ENODATA' });
    publicDns.say('broken.test', 'any', 'SERVFAIL');
    await expect(resolver.resolveCaa('broken.test')).rejects.toMatchObject({ code: 'ESERVFAIL' });
    publicDns.say('slow.test', 'any', 'time-out');
    await expect(resolver.resolveCaa('slow.test')).rejects.toMatchObject({ code: 'ETIMEOUT' });
    expect(publicDns.questions).toContain('CAA none.test');
  });

  test('what is no question of DNS, and types that nobody models, end nothing', async () => {
    const { createSocket } = await import('node:dgram');
    const socket = createSocket('udp4');
    const [host, port] = (await publicDns.address()).split(':');
    await new Promise((resolve) => socket.send('no DNS', Number(port), host, resolve));
    socket.close();
    await expect(resolver.resolveSrv('example.com')).rejects.toMatchObject({ code: 'ENOTIMP' });
    publicDns.say(
      'long.test',
      'TXT',
      Array.from({ length: 20 }, (_, index) => `"${index}${'x'.repeat(200)}"`),
    );
    await expect(resolver.resolveTxt('long.test')).rejects.toThrow();
  });
});

const cloud = testCloud();

test('functions ask it with node:dns, by new resolvers too, and a zone of Route 53 answers', async () => {
  const { identities, lambda, route53 } = cloud().services;
  const zone = route53.createZone(OTHER_ACCOUNT, 'example.com');
  cloud().publicDns.delegate('example.com', zone.nameServers);
  identities.createRole(ACCOUNT, {
    name: 'asks',
    trustPolicy: trust({ Service: 'lambda.amazonaws.com' }),
    inlinePolicies: [allow('s3:GetObject')],
  });
  const handlerFile = join(cloud().folder, 'asks.mjs');
  writeFileSync(
    handlerFile,
    `import dns, { promises, Resolver as Callbacks } from 'node:dns';
     import { Resolver } from 'node:dns/promises';
     export const handler = async ({ name }) => {
       const byCallback = new Promise((resolve, reject) =>
         new Callbacks({ tries: 1 }).resolveNs(name, (error, found) => (error ? reject(error) : resolve(found))));
       const answers = [dns.promises.resolveNs(name), new promises.Resolver().resolveNs(name),
         new Resolver({ timeout: 2000 }).resolveNs(name), byCallback];
       return { servers: dns.getServers(), answers: await Promise.all(answers) };
     };`,
  );
  lambda.createFunction({
    account: ACCOUNT,
    region: REGION,
    name: 'asks',
    roleArn: `arn:aws:iam::${ACCOUNT}:role/asks`,
    handlerFile,
    timeoutSeconds: 10,
  });
  const response = await signedCall(cloud(), cloud.administrator(), 'lambda', {
    path: '/2015-03-31/functions/asks/invocations',
    body: JSON.stringify({ name: 'example.com' }),
  });
  expect(await response.json()).toEqual({
    servers: [await cloud().publicDns.address()],
    answers: Array(4).fill(zone.nameServers),
  });
});
