import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type FoundZone, zoneFinder } from '../../functions/dns/find-zones.ts';
import { TargetAccessDenied } from '../../functions/domain/errors.ts';
import { ACCOUNT, DnsWorld, OTHER } from './dns-world.ts';

let world: DnsWorld;
beforeAll(async () => {
  world = await DnsWorld.create();
});
afterAll(() => world.cloud.stop());

const find = (name: string, ...deps: Parameters<DnsWorld['deps']>): Promise<FoundZone> =>
  zoneFinder(world.deps(...deps))(name);
const fault = (...parts: string[]) => ({ fault: expect.stringMatching(parts.join('[\\s\\S]*')) });
const warning = (...parts: string[]) => ({ warning: expect.stringMatching(parts.join('[\\s\\S]*')) });
const found = (name: string, zone: { id: string; account: string; name: string; nameServers: string[] }) => ({
  zone: {
    DomainName: name,
    RecordZone: zone.name.replace(/\.$/, ''),
    HostedZoneId: zone.id,
    Account: zone.account,
    NameServers: zone.nameServers,
  },
});

describe('the zone of a name', () => {
  test('is the one to which public DNS delegates, for the name itself, names below it, and wildcards', async () => {
    const zone = world.zone(OTHER, 'plain.com');
    for (const name of ['plain.com', 'www.plain.com', 'a.b.plain.com', '*.plain.com', '*.a.plain.com']) {
      expect(await find(name)).toEqual(found(name, zone));
    }
  });

  test('is the closest one in public DNS', async () => {
    const parent = world.zone(ACCOUNT, 'nested.com');
    const child = world.undelegated(OTHER, 'dev.nested.com');
    await world.record(parent, 'dev.nested.com', 'NS', ...child.nameServers.map((server) => `${server}.`));
    expect(await find('www.dev.nested.com')).toEqual(found('www.dev.nested.com', child));
    expect(await find('dev.nested.com')).toEqual(found('dev.nested.com', child));
    expect(await find('www.nested.com')).toEqual(found('www.nested.com', parent));
  });

  test('is none below it that nobody delegates to', async () => {
    const parent = world.zone(ACCOUNT, 'orphan.com');
    world.undelegated(ACCOUNT, 'www.orphan.com');
    expect(await find('www.orphan.com')).toEqual(found('www.orphan.com', parent));
  });

  test('is that whose servers are asked, of two of one name', async () => {
    world.undelegated(ACCOUNT, 'twins.com');
    const asked = world.zone(OTHER, 'twins.com');
    world.undelegated(OTHER, 'twins.com');
    expect(await find('www.twins.com')).toEqual(found('www.twins.com', asked));
    expect(await find('www.twins.com', [OTHER, ACCOUNT])).toEqual(found('www.twins.com', asked));
  });

  test('is that whose servers are asked, also where the NS records of another name them', async () => {
    const old = world.undelegated(ACCOUNT, 'moved.com');
    const asked = world.zone(OTHER, 'moved.com');
    await world.record(old, 'moved.com', 'NS', ...asked.nameServers.map((server) => `${server}.`));
    expect(await find('moved.com')).toEqual(found('moved.com', asked));
  });

  test('is none that is private', async () => {
    world.undelegated(ACCOUNT, 'inside.com', { private: true });
    const zone = world.zone(ACCOUNT, 'inside.com');
    expect(await find('www.inside.com')).toEqual(found('www.inside.com', zone));
  });

  test('may have a name that begins many others', async () => {
    // More than a page, and listed by their ids.
    for (let index = 0; index < 120; index += 1) {
      const id = `ZA${String(index).padStart(18, '0')}`;
      world.undelegated(ACCOUNT, 'many.com', { private: true, id });
    }
    const zone = world.undelegated(ACCOUNT, 'many.com', { id: 'ZZ000000000000000000' });
    world.cloud.publicDns.delegate('many.com', zone.nameServers);
    world.undelegated(ACCOUNT, 'many.com.au');
    expect(await find('many.com')).toEqual(found('many.com', zone));
    expect(world.calls('ListHostedZonesByName', 'many.com')).toBe(3);
  });

  test('is found in whatever case and order servers are answered', async () => {
    const zone = world.undelegated(ACCOUNT, 'capitals.com');
    const servers = zone.nameServers.map((server) => `${server.toUpperCase()}.`).reverse();
    world.cloud.publicDns.say('capitals.com', 'NS', servers);
    expect(await find('capitals.com')).toEqual(found('capitals.com', zone));
  });

  test('is above a name that is an alias for another zone', async () => {
    const zone = world.zone(ACCOUNT, 'alias.com');
    world.zone(OTHER, 'elsewhere.com');
    await world.record(zone, 'www.alias.com', 'CNAME', 'elsewhere.com.');
    await world.record(zone, 'a.b.alias.com', 'CNAME', 'broken.elsewhere.net.');
    world.cloud.publicDns.say('broken.elsewhere.net', 'any', 'SERVFAIL');
    for (const name of ['www.alias.com', 'x.www.alias.com', 'a.b.alias.com']) {
      expect(await find(name)).toEqual(found(name, zone));
    }
  });

  test('is above a wildcard alias', async () => {
    const zone = world.zone(ACCOUNT, 'star.com');
    world.zone(OTHER, 'target.com');
    await world.record(zone, '*.star.com', 'CNAME', 'target.com.');
    expect(await find('any.star.com')).toEqual(found('any.star.com', zone));
  });
});

describe('a fault says what to do', () => {
  test('the registrar names other servers than those of the zone', async () => {
    const zone = world.undelegated(ACCOUNT, 'stale.com');
    world.cloud.publicDns.delegate('stale.com', ['ns1.provider.net', 'ns2.provider.net']);
    const [server = ''] = zone.nameServers;
    expect(await find('www.stale.com')).toEqual(
      fault(
        'asks ns1.provider.net, ns2.provider.net for stale.com',
        zone.id,
        ACCOUNT,
        server,
        'add that account to DnsAccounts',
        'RecordsByHand',
        'delete it',
        'Only if it is the right one and has all records of the domain, enter its servers',
      ),
    );
  });

  describe('a zone that nobody asks is here, and the zone that is asked cannot be seen', () => {
    // The registrar would lead the domain to a zone without its records.
    const noRegistrar = (found: FoundZone) => expect(found.fault).not.toMatch(/registrar|Enter|enter/);

    test('the role of its account is missing', async () => {
      const stale = world.undelegated(ACCOUNT, 'unseen.com');
      world.zone(OTHER, 'unseen.com');
      const refuse = (account: string) => {
        if (account === OTHER) throw new TargetAccessDenied('Cannot assume the role.');
      };
      const found = await find('www.unseen.com', [ACCOUNT, OTHER], refuse);
      expect(found).toEqual(
        fault('asks .* for unseen.com', stale.id, 'Another zone may be', 'Cannot assume the role.$'),
      );
      noRegistrar(found);
    });

    test('the role may not read it', async () => {
      const asked = world.zone(ACCOUNT, 'unread.com');
      const stale = world.undelegated(OTHER, 'unread.com');
      world.deny('GetHostedZone');
      const found = await find('www.unread.com');
      expect(found).toEqual(
        fault(
          'asks .* for unread.com',
          stale.id,
          `may not read .* ${asked.id} .*HostedZoneArns there. AWS says: .*`,
        ),
      );
      noRegistrar(found);
    });

    test('its account is not named', async () => {
      const stale = world.undelegated(ACCOUNT, 'unnamed.com');
      world.zone(OTHER, 'unnamed.com');
      expect(await find('unnamed.com', [ACCOUNT])).toEqual(
        fault(stale.id, 'in another account, add that account to DnsAccounts', 'Only if'),
      );
    });
  });

  test('public DNS fails at the delegation', async () => {
    world.undelegated(ACCOUNT, 'lame.com');
    world.cloud.publicDns.say('lame.com', 'any', 'SERVFAIL');
    expect(await find('www.lame.com')).toEqual(fault('name servers www.lame.com has .SERVFAIL', 'DNSSEC'));
    world.cloud.publicDns.say('slow.com', 'any', 'time-out');
    expect(await find('slow.com')).toEqual(fault('slow.com has .no answer in time'));
  });

  test('nobody delegates to the zone', async () => {
    const zone = world.undelegated(OTHER, 'new.com');
    const [server = ''] = zone.nameServers;
    expect(await find('www.new.com')).toEqual(
      fault(
        'does not delegate new.com',
        zone.id,
        OTHER,
        'delete it',
        'Only if it has all records',
        server,
        'registrar',
      ),
    );
  });

  test('the zone above, with another provider, does not delegate to the zone', async () => {
    world.cloud.publicDns.delegate('above.com', ['ns1.provider.net']);
    const zone = world.undelegated(OTHER, 'dev.above.com');
    expect(await find('www.dev.above.com')).toEqual(
      fault('does not delegate dev.above.com', zone.id, OTHER, 'in the NS records of above.com'),
    );
  });

  test('nobody has registered the domain', async () => {
    world.cloud.publicDns.delegate('tld', ['a.nic.tld']);
    expect(await find('www.nowhere.tld')).toEqual(fault('has no zone of this domain', 'Register'));
    expect(await find('www.nowhere.other')).toEqual(fault('has no zone of this domain'));
  });

  test('several zones name the servers', async () => {
    const zones = [world.undelegated(ACCOUNT, 'both.com'), world.undelegated(OTHER, 'both.com')];
    for (const zone of zones) await world.record(zone, 'both.com', 'NS', 'ns1.both.com.');
    world.cloud.publicDns.delegate('both.com', ['ns1.both.com']);
    expect(await find('both.com')).toEqual(fault('several', zones[0]?.id ?? '', zones[1]?.id ?? ''));
  });

  test('the role may not read the zone', async () => {
    const zone = world.zone(ACCOUNT, 'closed.com');
    world.deny('GetHostedZone');
    expect(await find('closed.com', [ACCOUNT])).toEqual(fault(zone.id, 'HostedZoneArns'));
  });

  test('an account refuses', async () => {
    world.cloud.publicDns.delegate('refused.com', ['ns1.provider.net']);
    const refuse = (account: string) => {
      if (account === OTHER) throw new TargetAccessDenied('Cannot assume the role.');
    };
    expect(await find('refused.com', [ACCOUNT, OTHER], refuse)).toEqual(fault('Cannot assume the role.'));
    world.deny('ListHostedZonesByName');
    expect(await find('refused.com', [ACCOUNT])).toEqual(fault(ACCOUNT, 'list hosted zones'));
  });

  test('an account that refuses does no harm where another one has the zone', async () => {
    const zone = world.zone(ACCOUNT, 'elsewhere.org');
    const refuse = (account: string) => {
      if (account === OTHER) throw new TargetAccessDenied('Cannot assume the role.');
    };
    expect(await find('elsewhere.org', [OTHER, ACCOUNT], refuse)).toEqual(found('elsewhere.org', zone));
  });
});

describe('a zone that is not here is a fault that says what to do', () => {
  test('the zone is with another provider', async () => {
    world.cloud.publicDns.delegate('foreign.com', ['ns1.provider.net']);
    expect(await find('www.foreign.com')).toEqual(
      fault(
        'ns1.provider.net for foreign.com',
        'no account of DnsAccounts',
        'HostedZoneArns',
        'RecordsByHand',
      ),
    );
  });

  test('the accounts have a private zone only', async () => {
    const zone = world.undelegated(ACCOUNT, 'intern.com', { private: true });
    world.cloud.publicDns.delegate('intern.com', ['ns1.provider.net']);
    expect(await find('www.intern.com')).toEqual(fault(zone.id, ACCOUNT, 'is private'));
  });

  test('the zone above is here, and delegates to another provider', async () => {
    const parent = world.zone(ACCOUNT, 'above.org');
    await world.record(parent, 'away.above.org', 'NS', 'ns1.provider.net.');
    world.cloud.publicDns.delegate('away.above.org', ['ns1.provider.net']);
    expect(await find('www.away.above.org')).toEqual(fault('ns1.provider.net for away.above.org'));
  });

  test('servers of another provider answer, too', async () => {
    const zone = world.undelegated(ACCOUNT, 'two.com');
    world.cloud.publicDns.say('two.com', 'NS', ['ns1.provider.net']);
    await world.record(zone, 'two.com', 'NS', ...zone.nameServers, 'ns1.provider.net.');
    world.cloud.publicDns.delegate('two.com', zone.nameServers);
    expect(await find('www.two.com')).toEqual({
      ...found('www.two.com', zone),
      ...warning(zone.id, 'than ns1.provider.net', 'there, too'),
    });
  });

  test('servers of two zones that are both here', async () => {
    const one = world.undelegated(ACCOUNT, 'pair.com');
    const two = world.undelegated(OTHER, 'pair.com');
    const servers = [...one.nameServers, ...two.nameServers.slice(0, 2), 'ns1.provider.net'];
    world.cloud.publicDns.say('pair.com', 'NS', servers);
    for (const zone of [one, two]) await world.record(zone, 'pair.com', 'NS', ...servers.map((s) => `${s}.`));
    expect(await find('pair.com')).toEqual({
      ...found('pair.com', one),
      ...warning(
        `are servers of the hosted zone ${two.id} of account ${OTHER}. Create the validation record there, too`,
        'If ns1.provider.net are not',
      ),
    });
  });

  test('servers have names of the owner', async () => {
    const zone = world.undelegated(ACCOUNT, 'white.com');
    await world.record(zone, 'white.com', 'NS', 'ns1.white.com.', 'NS2.white.com.');
    world.cloud.publicDns.delegate('white.com', ['ns1.white.com', 'ns2.white.com']);
    expect(await find('www.white.com')).toEqual({
      ...found('www.white.com', zone),
      ...warning('NS records of the hosted zone', zone.id, zone.nameServers[0] ?? ''),
    });
  });
});

test('the zones below an apex are in its list: names that no account has cost no call more', async () => {
  world.cloud.publicDns.delegate('list.com', ['ns1.provider.net']);
  const zone = world.undelegated(OTHER, 'dev.list.com');
  const findZone = zoneFinder(world.deps());
  for (let index = 0; index < 20; index += 1) {
    expect(await findZone(`n${index}.list.com`)).toEqual(fault('no account of DnsAccounts'));
    expect(await findZone(`n${index}.dev.list.com`)).toEqual(
      fault('does not delegate dev.list.com', zone.id),
    );
  }
  expect(world.calls('ListHostedZonesByName', 'list.com')).toBe(2);
  expect(world.calls('GetHostedZone', zone.id)).toBe(1);
});

test('each question is asked once for all names', async () => {
  const zone = world.zone(ACCOUNT, 'hundred.com');
  const findZone = zoneFinder(world.deps());
  const names = Array.from({ length: 100 }, (_, index) => `n${index}.hundred.com`);
  const zones = await Promise.all(names.map(findZone));
  expect(zones).toEqual(names.map((name) => found(name, zone)));
  expect(world.calls('ListHostedZonesByName', 'hundred.com')).toBe(2);
  expect(world.calls('GetHostedZone', zone.id)).toBe(1);
});

test('what passes by itself is thrown', async () => {
  world.zone(ACCOUNT, 'throttled.com');
  world.deny('ListHostedZonesByName', 'Throttling');
  await expect(find('throttled.com')).rejects.toMatchObject({ name: 'Throttling' });
  world.deny('GetHostedZone', 'Throttling');
  await expect(find('throttled.com')).rejects.toMatchObject({ name: 'Throttling' });
});
