import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { lookBefore } from '../../functions/dns/look-before.ts';
import { ACCOUNT, DnsWorld, OTHER } from './dns-world.ts';

let world: DnsWorld;
beforeAll(async () => {
  world = await DnsWorld.create();
});
afterAll(() => world.cloud.stop());

/** Only CAA. */
const look = (...names: string[]) => lookBefore(names, world.deps([]));
const caa = (name: string, ...properties: [tag: string, value: string, critical?: number][]) =>
  world.cloud.publicDns.say(
    name,
    'CAA',
    properties.map(([tag, value, critical = 0]) => ({ critical, [tag]: value })),
  );
const nothing = { Faults: [], Zones: [], Warnings: [] };
const fault = (reason: RegExp) => ({
  ...nothing,
  Faults: [{ Field: 'DomainNames', Reason: expect.stringMatching(reason) }],
});

test('where nobody has CAA records every CA may issue', async () => {
  world.cloud.publicDns.delegate('open.com', ['ns1.provider.net']);
  expect(await look('open.com', 'www.open.com', '*.open.com', 'no.such.name')).toEqual(nothing);
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
  expect(await look('*.tame.com')).toEqual(fault(/^\*.tame.com: .*issuewild: nobody/));
  // Records at a name that is called * are for no wildcard.
  expect(world.cloud.publicDns.questions.filter((question) => question.includes('*'))).toEqual([]);
});

test('the records of the target of a CNAME count, at the name and at its parents; those above the target do not', async () => {
  caa('cdn.net', ['issue', ';']);
  caa('edge.cdn.net', ['issue', 'letsencrypt.org']);
  world.cloud.publicDns.say('www.led.com', 'CNAME', ['edge.cdn.net']);
  world.cloud.publicDns.say('loose.led.com', 'CNAME', ['empty.cdn.net']);
  expect(await look('www.led.com')).toEqual(fault(/at www.led.com let other CAs issue .*letsencrypt/));
  expect(await look('a.b.www.led.com')).toEqual(fault(/at www.led.com/));
  // The target has none: the climb goes on at the parents of the name.
  expect(await look('loose.led.com')).toEqual(nothing);
  caa('led.com', ['issue', 'awstrust.com']);
  expect(await look('loose.led.com', 'led.com')).toEqual(nothing);
});

test('where a question fails on the way, no CA may issue', async () => {
  world.cloud.publicDns.say('failing.com', 'CAA', 'SERVFAIL');
  expect(await look('a.failing.com')).toEqual(
    fault(/a.failing.com: .*CAA records at failing.com failed .SERVFAIL.*DNSSEC/),
  );
  caa('www.failing.com', ['issue', 'amazon.com']);
  expect(await look('www.failing.com')).toEqual(nothing);
  world.cloud.publicDns.say('silent.com', 'CAA', 'time-out');
  expect(await look('silent.com')).toEqual(fault(/no answer in time/));
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
  const { Faults } = await lookBefore(names, { ...deps, resolver: counting });
  expect(Faults).toEqual([
    { Field: 'DomainNames', Reason: expect.stringMatching(/^n0.sub.mass.com, .* and 90 more: /) },
  ]);
  expect(asked).toHaveLength(102);
  expect(most).toBeLessThanOrEqual(25);
});

test('with accounts the zones are found, and faults of all kinds are told', async () => {
  const zone = world.zone(ACCOUNT, 'zones.com');
  world.undelegated(OTHER, 'stale.org');
  world.cloud.publicDns.delegate('stale.org', ['ns1.provider.net']);
  world.cloud.publicDns.delegate('foreign.org', ['ns1.provider.net']);
  await world.record(zone, 'zones.com', 'CAA', '0 issue "letsencrypt.org"');
  const names = ['*.zones.com', 'zones.com', 'www.stale.org', 'foreign.org'];
  const { Faults, Zones, Warnings } = await lookBefore(names, world.deps());
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

test('without accounts no zone is looked for', async () => {
  world.undelegated(OTHER, 'unlooked.org');
  expect(await look('www.unlooked.org')).toEqual(nothing);
  expect(world.calls('ListHostedZonesByName', 'unlooked.org')).toBe(0);
});
