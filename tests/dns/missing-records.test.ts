import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { missingRecords } from '../../functions/dns/missing-records.ts';
import { DnsWorld } from './dns-world.ts';

let world: DnsWorld;
beforeAll(async () => {
  world = await DnsWorld.create();
});
afterAll(() => world.cloud.stop());

const VALUE = '_y.abc.acm-validations.aws.';
const look = (...names: string[]) =>
  missingRecords(
    names.map((Name) => ({ Name, Value: VALUE })),
    world.deps().resolver,
  );
const alias = (name: string, target: string) => world.cloud.publicDns.say(name, 'CNAME', [target]);

test('a record is there with the value of ACM, in whatever case', async () => {
  alias('_x.there.com', '_Y.abc.ACM-validations.aws');
  expect(await look('_X.there.com.')).toEqual({ missing: [], unknown: [] });
});

test('a record may be reached by way of another one', async () => {
  alias('_x.far.com', '_x.near.com');
  alias('_x.near.com', '_x.nearest.com');
  alias('_x.nearest.com', '_y.abc.acm-validations.aws');
  expect(await look('_x.far.com.')).toEqual({ missing: [], unknown: [] });
});

test('a record is missing, whether the name exists or not', async () => {
  world.cloud.publicDns.say('_x.text.com', 'TXT', ['a']);
  expect(await look('_x.gone.com.', '_x.text.com.')).toEqual({
    missing: [
      { Name: '_x.gone.com.', Value: VALUE },
      { Name: '_x.text.com.', Value: VALUE },
    ],
    unknown: [],
  });
});

test('a record has another value', async () => {
  alias('_x.other.com', '_z.abc.acm-validations.aws');
  alias('_x.loop.com', '_y.loop.com');
  alias('_y.loop.com', '_x.loop.com');
  expect(await look('_x.other.com.', '_x.loop.com')).toEqual({
    missing: [
      { Name: '_x.other.com.', Value: VALUE, Found: '_z.abc.acm-validations.aws' },
      { Name: '_x.loop.com', Value: VALUE, Found: '_y.loop.com' },
    ],
    unknown: [],
  });
});

test('nothing is said of a record that a server does not answer', async () => {
  world.cloud.publicDns.say('_x.failing.com', 'CNAME', 'SERVFAIL');
  world.cloud.publicDns.say('slow.com', 'any', 'time-out');
  alias('_x.led.com', '_x.slow.com');
  const { missing, unknown } = await look('_x.failing.com.', '_x.slow.com.', '_x.led.com.');
  expect(missing).toEqual([]);
  expect(unknown.map(({ Name }) => Name)).toEqual(['_x.failing.com.', '_x.slow.com.', '_x.led.com.']);
});
