import {
  type Change,
  ChangeResourceRecordSetsCommand,
  GetChangeCommand,
  GetHostedZoneCommand,
  ListHostedZonesByNameCommand,
  ListResourceRecordSetsCommand,
  Route53Client,
} from '@aws-sdk/client-route-53';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { createCloud } from '../../src/cloud.ts';
import type { HostedZone } from '../../src/services/route53.ts';
import { VirtualClock } from '../../src/services/virtual-clock.ts';
import { ACCOUNT, allow, OTHER_ACCOUNT, REGION, testCloud } from './test-cloud.ts';

const cloud = testCloud();
let route53: Route53Client;
let zone: HostedZone;
beforeAll(() => {
  route53 = new Route53Client(cloud().clientConfig(cloud.administrator(), REGION));
  zone = cloud().services.route53.createZone(ACCOUNT, 'example.com');
});

type Action = 'CREATE' | 'DELETE' | 'UPSERT';
const change = (
  Action: Action,
  Name: string,
  Type: 'A' | 'CAA' | 'CNAME' | 'TXT',
  ...values: string[]
): Change => ({
  Action,
  ResourceRecordSet: { Name, Type, TTL: 300, ResourceRecords: values.map((Value) => ({ Value })) },
});
const ask = (HostedZoneId: string, ...Changes: Change[]) =>
  route53.send(new ChangeResourceRecordSetsCommand({ HostedZoneId, ChangeBatch: { Changes } }));
const recordsOf = async ({ id }: HostedZone) =>
  (await route53.send(new ListResourceRecordSetsCommand({ HostedZoneId: id }))).ResourceRecordSets?.map(
    ({ Name, Type }) => `${Name} ${Type}`,
  );

describe('a hosted zone', () => {
  test('tells its four name servers and its own records; a private one tells none', async () => {
    const { HostedZone, DelegationSet, VPCs } = await route53.send(new GetHostedZoneCommand({ Id: zone.id }));
    expect(HostedZone).toMatchObject({
      Id: `/hostedzone/${zone.id}`,
      Name: 'example.com.',
      Config: { PrivateZone: false },
    });
    expect(DelegationSet?.NameServers).toEqual(zone.nameServers);
    expect(DelegationSet?.NameServers).toHaveLength(4);
    expect(VPCs).toBeUndefined();
    expect(await recordsOf(zone)).toEqual(['example.com. NS', 'example.com. SOA']);

    const inside = cloud().services.route53.createZone(ACCOUNT, 'inside.example', { private: true });
    const answer = await route53.send(new GetHostedZoneCommand({ Id: `/hostedzone/${inside.id}` }));
    expect(answer.HostedZone?.Config?.PrivateZone).toBe(true);
    expect(answer.DelegationSet).toBeUndefined();
    expect(answer.VPCs).toHaveLength(1);
  });

  test('is listed from a name on, by labels from the right, in pages', async () => {
    const { services } = cloud();
    const names = ['b.list.test', 'list.test', 'zz.list.test', 'a.list.test'];
    for (const name of names) services.route53.createZone(OTHER_ACCOUNT, name);
    const twin = services.route53.createZone(OTHER_ACCOUNT, 'list.test');
    const config = cloud().clientConfig(cloud.administrator(OTHER_ACCOUNT), REGION);
    const other = new Route53Client(config);
    const list = (input: { DNSName?: string; HostedZoneId?: string; MaxItems?: number }) =>
      other.send(new ListHostedZonesByNameCommand(input as never));
    const named = async (input: Parameters<typeof list>[0]) =>
      (await list(input)).HostedZones?.map(({ Name }) => Name);
    expect(await named({})).toEqual([
      'list.test.',
      'list.test.',
      'a.list.test.',
      'b.list.test.',
      'zz.list.test.',
    ]);
    // It starts a list, it does not look for a name.
    expect(await named({ DNSName: 'aa.list.test' })).toEqual(['b.list.test.', 'zz.list.test.']);
    expect(await named({ DNSName: 'nothing.like.it' })).toEqual([
      'list.test.',
      'list.test.',
      'a.list.test.',
      'b.list.test.',
      'zz.list.test.',
    ]);
    const first = await list({ DNSName: 'LIST.test.', MaxItems: 1 });
    expect(first).toMatchObject({ IsTruncated: true, NextDNSName: 'list.test.', MaxItems: 1 });
    const second = await list({
      DNSName: first.NextDNSName ?? '',
      HostedZoneId: first.NextHostedZoneId ?? '',
      MaxItems: 1,
    });
    const ids = [...(first.HostedZones ?? []), ...(second.HostedZones ?? [])].map(({ Id }) => Id);
    expect(new Set(ids).size).toBe(2);
    expect(ids).toContain(`/hostedzone/${twin.id}`);
    await expect(list({ HostedZoneId: twin.id })).rejects.toMatchObject({ name: 'InvalidInput' });
    // Another account's zones are not there.
    expect((await route53.send(new ListHostedZonesByNameCommand({}))).HostedZones).not.toContainEqual(
      expect.objectContaining({ Id: `/hostedzone/${twin.id}` }),
    );
  });

  test('of another account, and one that does not exist, are refused', async () => {
    const foreign = cloud().services.route53.createZone(OTHER_ACCOUNT, 'foreign.test');
    await expect(route53.send(new GetHostedZoneCommand({ Id: foreign.id }))).rejects.toMatchObject({
      name: 'AccessDenied',
    });
    await expect(ask('Z0NONE', change('UPSERT', 'a.example.com', 'A', '192.0.2.1'))).rejects.toMatchObject({
      name: 'NoSuchHostedZone',
      $metadata: { httpStatusCode: 404 },
    });
    await expect(route53.send(new GetChangeCommand({ Id: 'C0NONE' }))).rejects.toMatchObject({
      name: 'NoSuchChange',
    });
    await expect(route53.send(new GetHostedZoneCommand({ Id: 'Z'.repeat(33) }))).rejects.toMatchObject({
      name: 'InvalidInput',
    });
  });
});

describe('a change', () => {
  test('is listed at once, is PENDING, and INSYNC after a minute', async () => {
    const here = cloud().services.route53.createZone(ACCOUNT, 'change.test');
    cloud().publicDns.delegate('change.test', here.nameServers);
    const { ChangeInfo } = await ask(
      here.id,
      change('UPSERT', '_A1.Change.test', 'CNAME', '_b2.acm-validations.aws.'),
      change('CREATE', '*.change.test', 'A', '192.0.2.1'),
    );
    expect(ChangeInfo).toMatchObject({ Status: 'PENDING', Id: expect.stringMatching(/^\/change\/C/) });
    expect(await recordsOf(here)).toEqual([
      'change.test. NS',
      'change.test. SOA',
      '\\052.change.test. A',
      '_a1.change.test. CNAME',
    ]);
    const status = async () =>
      (await route53.send(new GetChangeCommand({ Id: ChangeInfo?.Id ?? '' }))).ChangeInfo?.Status;
    expect(cloud().publicDns.query('_a1.change.test', 'CNAME').records).toEqual([]);
    cloud().clock.advance(59_000);
    expect(await status()).toBe('PENDING');
    cloud().clock.advance(1000);
    await new Promise(setImmediate);
    expect(await status()).toBe('INSYNC');
    expect(cloud().publicDns.query('_a1.change.test', 'CNAME').records).toMatchObject([
      { data: '_b2.acm-validations.aws' },
    ]);
    expect(cloud().publicDns.query('any.change.test', 'A').records).toMatchObject([{ data: '192.0.2.1' }]);
  });

  test.each<[string, RegExp, Change[]]>([
    [
      'of a name outside of the zone',
      /is not permitted in zone/,
      [change('UPSERT', 'example.org', 'A', '192.0.2.1')],
    ],
    [
      'of a name that only ends like it',
      /is not permitted in zone/,
      [change('UPSERT', 'anexample.com', 'A', '192.0.2.1')],
    ],
    ['of a CNAME at the apex', /at apex/, [change('UPSERT', 'example.com', 'CNAME', 'a.example.org')]],
    [
      'of a CNAME beside another record',
      /conflicts/,
      [
        change('UPSERT', 'two.example.com', 'A', '192.0.2.1'),
        change('UPSERT', 'two.example.com', 'CNAME', 'a.example.org'),
      ],
    ],
    [
      'of a CNAME with two values',
      /a CNAME has one/,
      [change('UPSERT', 'c.example.com', 'CNAME', 'a.test', 'b.test')],
    ],
    [
      'that creates what is there',
      /already exists/,
      [change('CREATE', 'there.example.com', 'A', '192.0.2.1')],
    ],
    [
      'that deletes what is not there',
      /was not found/,
      [change('DELETE', 'gone.example.com', 'A', '192.0.2.1')],
    ],
    [
      'that deletes by other values',
      /do not match/,
      [change('DELETE', 'there.example.com', 'A', '192.0.2.9')],
    ],
    [
      'that deletes twice',
      /invalid set of changes/,
      [
        change('DELETE', 'there.example.com', 'A', '192.0.2.1'),
        change('DELETE', 'there.example.com', 'A', '192.0.2.1'),
      ],
    ],
  ])('%s is InvalidChangeBatch, and nothing of its batch happens', async (_what, message, changes) => {
    await ask(zone.id, change('UPSERT', 'there.example.com', 'A', '192.0.2.1'));
    const before = await recordsOf(zone);
    const good = change('UPSERT', 'good.example.com', 'A', '192.0.2.1');
    await expect(ask(zone.id, good, ...changes)).rejects.toMatchObject({
      name: 'InvalidChangeBatch',
      message: expect.stringMatching(message),
    });
    expect(await recordsOf(zone)).toEqual(before);
  });

  test('without TTL or values is InvalidInput, and an empty batch too', async () => {
    const bare = { Action: 'UPSERT', ResourceRecordSet: { Name: 'a.example.com', Type: 'A' } } as const;
    await expect(ask(zone.id, bare)).rejects.toMatchObject({ name: 'InvalidInput' });
    await expect(ask(zone.id)).rejects.toMatchObject({ name: 'InvalidInput' });
  });

  test('of more than a thousand values is refused; an UPSERT counts twice', async () => {
    const texts = (count: number) => Array.from({ length: count }, (_, index) => `"${index}"`);
    await ask(zone.id, change('UPSERT', 'many.example.com', 'TXT', ...texts(500)));
    await expect(
      ask(zone.id, change('UPSERT', 'many.example.com', 'TXT', ...texts(501))),
    ).rejects.toMatchObject({ name: 'InvalidChangeBatch' });
  });
});

describe('a record set', () => {
  const Name = 'www.routed.example.';
  const set = (SetIdentifier: string | undefined, Value: string): Change => ({
    Action: 'CREATE',
    ResourceRecordSet: {
      Name,
      Type: 'CNAME',
      TTL: 60,
      ResourceRecords: [{ Value }],
      ...(SetIdentifier ? { SetIdentifier, Weight: 1 } : {}),
    },
  });
  const setsOf = async ({ id }: HostedZone) =>
    (await route53.send(new ListResourceRecordSetsCommand({ HostedZoneId: id, StartRecordName: Name })))
      .ResourceRecordSets;

  test('with a weight may have others beside it, and none of simple routing', async () => {
    const routed = cloud().services.route53.createZone(ACCOUNT, 'routed.example');
    const sets = [set('a', 'a.example.'), set('b', 'b.example.')];
    await ask(routed.id, ...sets);
    expect(await setsOf(routed)).toEqual(sets.map(({ ResourceRecordSet }) => ResourceRecordSet));
    await expect(ask(routed.id, set(undefined, 'c.example.'))).rejects.toThrow(
      /another routing policy exists/,
    );
    await expect(ask(routed.id, set('a', 'c.example.'))).rejects.toThrow(/already exists/);
  });

  test('that is an alias is shown as it came, and has no values', async () => {
    const aliased = cloud().services.route53.createZone(ACCOUNT, 'routed.example');
    const AliasTarget = { HostedZoneId: 'Z2', DNSName: 'lb.example.', EvaluateTargetHealth: false };
    const alias = { Name, Type: 'A' as const, AliasTarget };
    await ask(aliased.id, { Action: 'CREATE', ResourceRecordSet: alias });
    expect(await setsOf(aliased)).toEqual([alias]);
    const both = { ...alias, TTL: 60, ResourceRecords: [{ Value: '192.0.2.1' }] };
    await expect(ask(aliased.id, { Action: 'UPSERT', ResourceRecordSet: both })).rejects.toThrow(
      /more than one/,
    );
  });
});

test('policies see the records of a batch as Route 53 normalizes them', async () => {
  const name = 'route53:ChangeResourceRecordSetsNormalizedRecordNames';
  const user = cloud().createUser(ACCOUNT, 'writer', [
    {
      Version: '2012-10-17',
      Statement: {
        Effect: 'Allow',
        Action: 'route53:ChangeResourceRecordSets',
        Resource: zone.arn,
        Condition: { 'ForAllValues:StringEquals': { [name]: ['\\052.w.example.com', 'abc.w.example.com'] } },
      },
    },
  ]);
  const client = new Route53Client(cloud().clientConfig(user, REGION));
  const send = (HostedZoneId: string, ...Changes: Change[]) =>
    client.send(new ChangeResourceRecordSetsCommand({ HostedZoneId, ChangeBatch: { Changes } }));
  await send(
    zone.id,
    change('UPSERT', '*.W.example.com.', 'A', '192.0.2.1'),
    change('UPSERT', '\\101bc.w.example.com', 'A', '192.0.2.1'),
  );
  await expect(
    send(
      zone.id,
      change('UPSERT', '*.w.example.com', 'A', '192.0.2.1'),
      change('UPSERT', 'x.example.com', 'A', '192.0.2.1'),
    ),
  ).rejects.toMatchObject({ name: 'AccessDenied', $metadata: { httpStatusCode: 403 } });
  const [call] = cloud()
    .record.calls.filter(({ operation }) => operation.startsWith('route53.'))
    .slice(-1);
  expect(call?.region).toBe('us-east-1');
});

test('five calls a second are the quota of an account, all operations together', async () => {
  // A clock that stands still: nothing is refilled.
  const still = await createCloud({ clock: new VirtualClock() });
  const { id } = still.services.route53.createZone(ACCOUNT, 'example.com');
  const send = (account: string, ...commands: unknown[]) => {
    const { credentials } = still.createUser(account, 'reader', [allow('route53:*')]);
    const client = still.client(Route53Client, { region: REGION, credentials, maxAttempts: 1 });
    return Promise.all(
      commands.map((command) =>
        client.send(command as never).then(
          () => 'OK',
          ({ name }) => name,
        ),
      ),
    );
  };
  const list = new ListHostedZonesByNameCommand({});
  const get = new GetHostedZoneCommand({ Id: id });
  expect(await send(ACCOUNT, list, get, list, get, list, get)).toEqual([
    'OK',
    'OK',
    'OK',
    'OK',
    'OK',
    'Throttling',
  ]);
  expect(await send(OTHER_ACCOUNT, list)).toEqual(['OK']);
  await still.stop();
});

test('the door without a socket answers the same', async () => {
  const direct = cloud().client(Route53Client, {
    region: REGION,
    credentials: cloud.administrator().credentials,
  });
  const Id = `/hostedzone/${zone.id}`;
  const [byHttp, byDoor] = await Promise.all([
    route53.send(new GetHostedZoneCommand({ Id })),
    direct.send(new GetHostedZoneCommand({ Id })),
  ]);
  expect(byDoor.HostedZone).toEqual(byHttp.HostedZone);
  expect(byDoor.DelegationSet).toEqual(byHttp.DelegationSet);
  await expect(direct.send(new GetHostedZoneCommand({ Id: 'Z0NONE' }))).rejects.toMatchObject({
    name: 'NoSuchHostedZone',
  });
});
