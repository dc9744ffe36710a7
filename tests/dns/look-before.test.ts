import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { FindZonesDeps } from '../../functions/dns/find-zones.ts';
import { lookBefore } from '../../functions/dns/look-before.ts';
import { UNREADABLE } from '../../functions/dns/resolver.ts';
import { ACCOUNT, DnsWorld, OTHER } from './dns-world.ts';

let world: DnsWorld;
beforeAll(async () => {
  world = await DnsWorld.create();
});
afterAll(() => world.cloud.stop());

const never = () => new AbortController().signal;
/** Only public DNS. */
const look = (...names: string[]) => lookBefore(names, { ...world.deps([]), deadline: never() });
function caa(name: string, ...properties: [tag: string, value: string, critical?: number][]) {
  register(name);
  const records = properties.map(([tag, value, critical = 0]) => ({ critical, [tag]: value }));
  world.cloud.publicDns.say(name, 'CAA', records);
}
/** The domain is another provider's. */
const register = (name: string) =>
  world.cloud.publicDns.delegate(name.split('.').slice(-2).join('.'), ['ns1.provider.net']);
const nothing = { Faults: [], Zones: [], Warnings: [] };
const fault = (reason: RegExp) => ({
  ...nothing,
  Faults: [{ Field: 'DomainNames', Reason: expect.stringMatching(reason) }],
});

test('where nobody has CAA records every CA may issue', async () => {
  world.cloud.publicDns.delegate('open.com', ['ns1.provider.net']);
  expect(await look('open.com', 'www.open.com', '*.open.com')).toEqual(nothing);
});

test('the closest CAA records count', async () => {
  caa('closest.com', ['issue', 'letsencrypt.org']);
  caa('ours.closest.com', ['issue', 'amazon.com']);
  expect(await look('a.ours.closest.com', 'ours.closest.com', '*.ours.closest.com')).toEqual(nothing);
  expect(await look('a.b.closest.com')).toEqual(fault(/^a.b.closest.com: The CAA records at closest.com/));
  caa('upside.com', ['issue', 'amazon.com']);
  caa('down.upside.com', ['issue', ';']);
  expect(await look('upside.com', 'down.upside.com')).toEqual(
    fault(/^down.upside.com: .*at down.upside.com/),
  );
});

test('records without issue end the climb, and permit', async () => {
  caa('iodef.com', ['issue', ';']);
  caa('www.iodef.com', ['iodef', 'mailto:a@iodef.com']);
  expect(await look('a.www.iodef.com')).toEqual(nothing);
});

test('a wildcard is asked for where the name below its star is', async () => {
  caa('wild.com', ['issue', 'letsencrypt.org'], ['issuewild', 'amazon.com']);
  expect(await look('*.wild.com')).toEqual(nothing);
  expect(await look('www.wild.com')).toEqual(fault(/issue: letsencrypt/));
  caa('tame.com', ['issue', 'amazon.com'], ['issuewild', ';']);
  expect(await look('www.tame.com', 'tame.com')).toEqual(nothing);
  expect(await look('*.tame.com')).toEqual(fault(/^\*.tame.com: .*let no CA issue .issuewild/));
  // Records at a name that is called * are for no wildcard.
  expect(world.cloud.publicDns.questions.filter((question) => question.includes('*'))).toEqual([]);
});

test('the records of the target of a CNAME count, at the name and at its parents; those above the target do not', async () => {
  caa('cdn.net', ['issue', ';']);
  caa('edge.cdn.net', ['issue', 'letsencrypt.org']);
  register('led.com');
  world.cloud.publicDns.say('www.led.com', 'CNAME', ['edge.cdn.net']);
  world.cloud.publicDns.say('loose.led.com', 'CNAME', ['empty.cdn.net']);
  expect(await look('www.led.com')).toEqual(
    fault(/www.led.com is a CNAME for edge.cdn.net, whose .*letsencrypt.* records of led.com count/),
  );
  expect(await look('a.b.www.led.com')).toEqual(fault(/www.led.com is a CNAME/));
  // The target has none: the climb goes on at the parents of the name.
  expect(await look('loose.led.com')).toEqual(nothing);
  caa('led.com', ['issue', 'awstrust.com']);
  expect(await look('loose.led.com', 'led.com')).toEqual(nothing);
});

test('where a question fails on the way, no CA may issue', async () => {
  register('failing.com');
  register('led.com');
  world.cloud.publicDns.say('failing.com', 'CAA', 'SERVFAIL');
  expect(await look('a.failing.com')).toEqual(
    fault(/a.failing.com: .*CAA records at failing.com failed .SERVFAIL.*DNSSEC/),
  );
  caa('www.failing.com', ['issue', 'amazon.com']);
  expect(await look('www.failing.com')).toEqual(nothing);
  world.cloud.publicDns.say('silent.com', 'CAA', 'time-out');
  expect(await look('silent.com')).toEqual(fault(/no answer in time/));
  const names = Array.from({ length: 100 }, (_, index) => `n${index}.dead.com`);
  world.cloud.publicDns.say('dead.com', 'any', 'time-out');
  // One trouble is told once.
  expect(await look(...names)).toEqual(
    fault(
      /^n0.dead.com, .*n9.dead.com and 90 more: .*CAA records at n0.dead.com, n1.dead.com, n2.dead.com and 97 more failed/,
    ),
  );
  world.cloud.publicDns.say('to.led.com', 'CNAME', ['x.dead.net']);
  world.cloud.publicDns.say('dead.net', 'any', 'SERVFAIL');
  expect(await look('to.led.com')).toEqual(fault(/at to.led.com failed/));
});

test('a critical tag that nobody knows, and a condition', async () => {
  caa('critical.com', ['issue', 'amazon.com'], ['tbs', 'x', 128]);
  expect(await look('critical.com')).toEqual(fault(/"tbs"/));
  caa('condition.com', ['issue', 'amazon.com; validationmethods=http-01']);
  expect(await look('condition.com')).toEqual({
    ...nothing,
    Warnings: [expect.stringMatching(/^condition.com: .*validationmethods=http-01/)],
  });
});

test('of a hundred names each parent is asked once, and a fault of all is told once', async () => {
  caa('mass.com', ['issue', ';']);
  const names = Array.from({ length: 100 }, (_, index) => `n${index}.sub.mass.com`);
  const asked: string[] = [];
  let atOnce = 0;
  let most = 0;
  const { resolver, ...deps } = world.deps([]);
  const counting = {
    ...resolver,
    caa: async (name: string) => {
      asked.push(name);
      atOnce += 1;
      most = Math.max(most, atOnce);
      await new Promise(setImmediate);
      atOnce -= 1;
      return resolver.caa(name);
    },
  };
  const { Faults } = await lookBefore(names, { ...deps, resolver: counting, deadline: never() });
  expect(Faults).toEqual([
    { Field: 'DomainNames', Reason: expect.stringMatching(/^n0.sub.mass.com, .* and 90 more: /) },
  ]);
  expect(asked).toHaveLength(102);
  // A resolver that is silent holds up all names together.
  expect(most).toBe(100);
});

test('with accounts the zones are found, and faults of all kinds are told', async () => {
  const zone = world.zone(ACCOUNT, 'zones.com');
  world.undelegated(OTHER, 'stale.org');
  world.cloud.publicDns.delegate('stale.org', ['ns1.provider.net']);
  world.cloud.publicDns.delegate('foreign.org', ['ns1.provider.net']);
  await world.record(zone, 'zones.com', 'CAA', '0 issue "letsencrypt.org"');
  const names = ['*.zones.com', 'zones.com', 'www.stale.org', 'foreign.org'];
  const { Faults, Zones, Warnings } = await lookBefore(names, { ...world.deps(), deadline: never() });
  expect(Faults).toEqual([
    { Field: 'DomainNames', Reason: expect.stringMatching(/^\*.zones.com, zones.com: The CAA records/) },
    {
      Field: 'DomainNames',
      Reason: expect.stringMatching(/^www.stale.org: Public DNS asks ns1.provider.net/),
    },
    { Field: 'DomainNames', Reason: expect.stringMatching(/^foreign.org: .*RecordsByHand true/) },
  ]);
  const common = {
    RecordZone: 'zones.com',
    HostedZoneId: zone.id,
    Account: ACCOUNT,
    NameServers: zone.nameServers,
  };
  expect(Zones).toEqual([
    { DomainName: '*.zones.com', ...common },
    { DomainName: 'zones.com', ...common },
  ]);
  expect(Warnings).toEqual([]);
});

test('without accounts no hosted zone is looked for, and public DNS must know the name all the same', async () => {
  world.undelegated(OTHER, 'unlooked.org');
  register('unlooked.org');
  expect(await look('www.unlooked.org')).toEqual(nothing);
  expect(world.calls('ListHostedZonesByName', 'unlooked.org')).toBe(0);
  world.cloud.publicDns.delegate('tld', ['a.nic.tld']);
  expect(await look('www.typo.con', 'a.nowhere.tld', '*.nowhere.tld')).toEqual(
    fault(
      /^www.typo.con, a.nowhere.tld, \*.nowhere.tld: Public DNS has no zone of this domain. Register .*correct/,
    ),
  );
  register('nameless.org');
  world.cloud.publicDns.say('nameless.org', 'NS', 'SERVFAIL');
  expect(await look('a.nameless.org', 'nameless.org')).toEqual(
    fault(/^a.nameless.org, nameless.org: .*which name servers nameless.org has .SERVFAIL/),
  );
});

test('a name whose CAA question fails is told once, and its hosted zone is not looked for', async () => {
  world.undelegated(ACCOUNT, 'quiet.org');
  register('quiet.org');
  world.cloud.publicDns.say('quiet.org', 'CAA', 'SERVFAIL');
  const { Faults } = await lookBefore(['www.quiet.org'], { ...world.deps(), deadline: never() });
  expect(Faults).toEqual([
    { Field: 'DomainNames', Reason: expect.stringMatching(/CAA records at quiet.org/) },
  ]);
  expect(world.calls('ListHostedZonesByName', 'quiet.org')).toBe(0);
});

test('an answer that cannot be read has a remedy of its own', async () => {
  const { resolver, ...deps } = world.deps([]);
  const unreadable = { ...resolver, caa: async () => ({ failed: UNREADABLE }) };
  register('unread.org');
  const looked = await lookBefore(['unread.org'], { ...deps, resolver: unreadable, deadline: never() });
  expect(looked).toEqual(fault(/cannot be read.* A CAA record with the value "" is one: write ";" there/));
  expect(JSON.stringify(looked)).not.toContain('DNSSEC');
});

describe('at the deadline', () => {
  const late = new Promise<never>(() => {});
  async function idle(): Promise<void> {
    for (let turn = 0; turn < 1000; turn += 1) await new Promise(setImmediate);
  }
  /** Aborts when nothing else is to be done. */
  async function lookUntilIdle(names: string[], deps: FindZonesDeps) {
    const deadline = new AbortController();
    const looking = lookBefore(names, { ...deps, deadline: deadline.signal });
    await idle();
    deadline.abort();
    return looking;
  }

  test('names of which public DNS said nothing are told, and the faults of others', async () => {
    const { resolver, ...deps } = world.deps();
    const silent = {
      ...resolver,
      ns: (name: string) => (name.endsWith('hung.org') ? late : resolver.ns(name)),
    };
    caa('early.org', ['issue', ';']);
    const { Faults } = await lookUntilIdle(['a.hung.org', 'early.org', 'b.hung.org'], {
      ...deps,
      resolver: silent,
    });
    expect(Faults.map(({ Reason }) => Reason)).toEqual([
      expect.stringMatching(/^a.hung.org, b.hung.org: Public DNS did not answer in time. Ask again/),
      expect.stringMatching(/^early.org: .*let no CA issue/),
    ]);
    expect(world.calls('ListHostedZonesByName', 'early.org')).toBe(0);
  });

  test('names whose hosted zones were not found are told, and no more of them are looked for', async () => {
    const zone = world.zone(ACCOUNT, 'first.org');
    const names = Array.from({ length: 20 }, (_, index) => `slow${index}.org`);
    for (const name of names) register(name);
    const { openZones, ...deps } = world.deps([ACCOUNT]);
    let opened = 0;
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = async (account: string) => {
      opened += 1;
      if (opened > 1) await held;
      return openZones(account);
    };
    const looked = await lookUntilIdle(['first.org', ...names], { ...deps, openZones: slow });
    expect(looked.Zones).toEqual([expect.objectContaining({ HostedZoneId: zone.id })]);
    expect(looked.Faults).toEqual([
      {
        Field: 'DomainNames',
        Reason: expect.stringMatching(/^slow0.org, .* and 10 more: .*too many hosted zones.*fewer domains/),
      },
    ]);
    // What is under way ends, and nothing begins.
    release();
    await idle();
    expect(opened).toBe(5);
  });
});
