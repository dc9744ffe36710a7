import { expect, test } from '@jest/globals';
import { requestCertificate } from '../../local/example-fleet.ts';
import { testFleet } from '../end-to-end/test-fleet.ts';
import { command, quickNode, type Surroundings } from './command-line.ts';

const fleet = testFleet({ composed: true });
const cli = (words: string, around: Surroundings = {}) => command(fleet(), words.split(' '), around);
const certificate = (name: string) => requestCertificate(fleet(), name, [`${name}.example.com`]);

/** A registered deployment of this name, on one node that `mayAnswer` may hold back. */
async function registered(
  name: string,
  options: Parameters<typeof quickNode>[2] = {},
  mayAnswer?: () => Promise<void>,
) {
  const arn = await certificate(name);
  const node = await quickNode(fleet().cloud, name, options, mayAnswer);
  fleet().cloud.settle();
  const ran = await cli(
    `register ${name} --certificate-arn ${arn} --tag acm-export=${name} --verify-port 443`,
  );
  return { arn, node, ran };
}

test('register waits, says node by node what happens, and exits with 0 when every server has the version', async () => {
  const { node, ran } = await registered('www');
  expect(ran).toMatchObject({ code: 0, err: '' });
  expect(ran.out).toContain(`www/acm-export=www: ${node.NodeId} installed`);
  expect(ran.out).toMatch(/www\/acm-export=www: served\n {2}Every server serves it at its port, until .*Z\./);
  expect(ran.out).not.toContain('\u001b');
  const got = await cli('get www --output json');
  expect(got.json()).toMatchObject({
    Status: 'INSTALLED',
    VerifyPort: 443,
    Nodes: [{ NodeId: node.NodeId }],
  });
});

test('on a terminal a live table is drawn in its place and in colour, without it where NO_COLOR is set', async () => {
  // The server answers when the table was drawn once.
  let drawn: PromiseWithResolvers<void> | undefined;
  await registered('live', {}, async () => drawn?.promise);
  drawn = Promise.withResolvers();
  const live = await cli('rollout live', { columns: 90, paused: drawn.resolve });
  expect(live.code).toBe(0);
  expect(live.out).toContain('\u001b[0J');
  expect(live.out).toContain('\u001b[32m');
  const plain = await cli('list', { columns: 90, env: { NO_COLOR: '1' } });
  expect(plain.out).toContain('live');
  expect(plain.out).not.toContain('\u001b');
});

test('each outcome has its exit code: failed 1, waiting 4, paused 5', async () => {
  const failed = await registered('broken', { behaviour: 'failed' });
  expect(failed.ran.code).toBe(1);
  expect(failed.ran.out).toMatch(/broken\/acm-export=broken: FAILED\n.* is broken/);
  expect(failed.ran.out).toContain('The next attempt is at ');
  expect((await cli('watch broken')).code).toBe(1);
  const arn = await certificate('nobody');
  const waiting = await cli(
    `register nobody --certificate-arn ${arn} --tag acm-export=nobody --verify-port 443`,
  );
  expect(waiting.code).toBe(4);
  expect(waiting.err).toContain('Warning: No managed node');
  expect((await cli('pause nobody')).code).toBe(0);
  const paused = await cli('rollout nobody');
  expect(paused).toMatchObject({ code: 5, err: 'acm-export: The deployment is paused: resume it first.\n' });
  // A list follows its index, which is some time behind.
  fleet().cloud.settle();
  expect((await cli('list --cert-name nobody')).out).toContain('WAITING, paused');
  expect((await cli('resume nobody')).code).toBe(4);
  expect((await cli('watch broken nobody --output json')).json()).toMatchObject({
    Outcome: 'failed',
    Deployments: [{ Outcome: 'failed' }, { Outcome: 'degraded' }],
  });
});

test('a wait that is over exits with 3, one that is interrupted with 130 at once, and both say that the rollout goes on', async () => {
  const held = Promise.withResolvers<void>();
  const arn = await certificate('slow');
  await quickNode(fleet().cloud, 'slow', {}, () => held.promise);
  fleet().cloud.settle();
  const late = await cli(
    `register slow --certificate-arn ${arn} --tag acm-export=slow --verify-port 443 --timeout 20s`,
  );
  expect(late.code).toBe(3);
  expect(late.out).toContain("It goes on: acm-export watch 'slow/acm-export=slow'");
  const controller = new AbortController();
  const interrupted = await cli('watch slow', {
    interrupted: controller.signal,
    paused: () => controller.abort(),
  });
  expect(interrupted.code).toBe(130);
  expect(interrupted.err).toContain(
    "What was started goes on.\nGo on watching: acm-export watch 'slow/acm-export=slow'",
  );
  held.resolve();
  expect((await cli('watch slow')).code).toBe(0);
});

test('a dry run is waited for by its number and changes nothing', async () => {
  const arn = await certificate('trial');
  await quickNode(fleet().cloud, 'trial');
  fleet().cloud.settle();
  const order = `register trial --certificate-arn ${arn} --tag acm-export=trial --verify-port 443`;
  const tried = await cli(`${order} --dry-run`);
  expect(tried.code).toBe(0);
  expect(tried.out).toContain('The dry run has passed on every server. Nothing was changed.');
  expect((await cli('get trial --output json')).json()).toMatchObject({ Status: 'TRIED' });
});

test('renew says that it costs money, asks, and waits until the servers have the new version', async () => {
  const { node } = await registered('renewed');
  const before = node.installed?.Serial;
  const unasked = await cli('renew renewed');
  expect(unasked.code).toBe(2);
  expect(unasked.err).toMatch(
    /the new version \(renewed\/acm-export=renewed\)\. AWS charges for that as for a new certificate\. .*add --yes/,
  );
  const refused = await cli('renew renewed', { answer: '' });
  expect([refused.code, refused.asked.length, refused.err]).toEqual([
    1,
    1,
    'acm-export: Nothing was done.\n',
  ]);
  expect(fleet().cloud.record.callsOf('RenewCertificate')).toEqual([]);
  const renewed = await cli('renew renewed', { answer: 'y', pause: 50 });
  expect(renewed.code).toBe(0);
  expect(node.installed?.Serial).not.toBe(before);
});

test('remove shows what happens, asks, and does nothing without a yes', async () => {
  await registered('gone');
  const refused = await cli('remove gone', { answer: 'n' });
  expect(refused.code).toBe(1);
  expect(refused.out).toContain('the files on 1 server stay, and are valid until ');
  expect((await cli('get gone')).code).toBe(0);
  expect(await cli('remove gone --yes')).toMatchObject({ code: 0 });
  // Lists may have it for seconds more.
  fleet().cloud.settle();
  expect(await cli('get gone')).toMatchObject({
    code: 1,
    err: 'acm-export: There is no deployment gone.\nSee what there is: acm-export list\n',
  });
});

test('a name is enough where it has one deployment; several are listed, and a tag or the digits of an id tell them apart', async () => {
  const arn = await certificate('two');
  for (const tag of ['two-a', 'two-b']) {
    await cli(`register two --certificate-arn ${arn} --tag acm-export=${tag} --verify-port 443 --no-wait`);
  }
  await fleet().cloud.idle();
  fleet().cloud.settle();
  const both = await cli('get two');
  expect(both.code).toBe(2);
  expect(both.err).toMatch(
    /two may be any of these 2 deployments:\n {2}[0-9a-f]{8} {2}two\/acm-export=two-[ab] /,
  );
  const one = await cli('get two/acm-export=two-b --output json');
  expect(one.json()).toMatchObject({ TargetTagValue: 'two-b' });
  const { DeploymentId } = one.json();
  for (const name of [DeploymentId.slice(0, 8), `two/${DeploymentId.slice(0, 8)}`]) {
    expect((await cli(`get ${name} --output json`)).json()).toMatchObject({ DeploymentId });
  }
  expect((await cli('get two/acm-export=two-c')).code).toBe(1);
});

test('lists have all pages, are filtered, and fit the line; what expires first stands in front', async () => {
  fleet().cloud.settle();
  const { Deployments } = (await cli('list --output json')).json();
  expect(Deployments.length).toBeGreaterThan(5);
  const tokens: (string | null)[] = [];
  const paged = await cli('list --output json', {
    fetch: async (url) => {
      const token = new URL(String(url)).searchParams.get('NextToken');
      tokens.push(token);
      // A page may hold nothing, and yet not be the last.
      const [NextToken, ...page] = token === null ? ['a/+='] : token === 'b' ? [undefined, 5] : ['b', 1, 2];
      const answer = {
        Deployments: page.map((index) => Deployments[Number(index)]),
        NextToken,
        CorrelationId: '1',
      };
      return new Response(JSON.stringify(answer));
    },
  });
  expect(tokens).toEqual([null, 'a/+=', 'b']);
  expect(paged.json().Deployments).toHaveLength(3);
  const failed = await cli('list --status FAILED --output json');
  const namesOf = ({ json }: typeof failed) =>
    json().Deployments.map(({ CertName }: { CertName: string }) => CertName);
  expect(namesOf(failed)).toEqual(['broken']);
  const [one] = failed.json().Deployments;
  expect(namesOf(await cli(`list --certificate-arn ${one.CertificateArn} --output json`))).toEqual([
    'broken',
  ]);
  expect(
    namesOf(await cli(`list --certificate-arn ${one.CertificateArn} --cert-name two --output json`)),
  ).toEqual([]);
  expect(namesOf(await cli('list --status PAUSED --output json'))).toEqual([]);
  await cli('pause broken');
  fleet().cloud.settle();
  for (const filters of ['--status PAUSED', '--status PAUSED --cert-name broken', '--status FAILED']) {
    expect(namesOf(await cli(`list ${filters} --output json`))).toEqual(['broken']);
  }
  for (const columns of [80, 100, 200]) {
    const { out } = await cli('list', { columns, env: { NO_COLOR: '1' } });
    expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(columns);
  }
  const piped = await cli('list');
  expect(Math.max(...piped.out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
  expect(await cli('expiring --within 10d --exit-code')).toMatchObject({ code: 0, out: '' });
  const expiring = await cli('expiring --within 365d --exit-code --output json');
  expect(expiring.code).toBe(10);
  const ends = expiring
    .json()
    .Deployments.map(({ EarliestNotAfter }: { EarliestNotAfter: string }) => EarliestNotAfter);
  expect(ends).toEqual([...ends].sort());
  expect(await cli('endpoints --unregistered')).toMatchObject({ code: 0, err: 'No such port was found.\n' });
});

test('what a node reports cannot write to the terminal', async () => {
  const { node } = await registered('evil');
  const evil = '\u001b]0;owned\u0007\u001b[2Jfine\u202e\u009b1A';
  const got = await cli('get evil', {
    columns: 100,
    env: { NO_COLOR: '1' },
    fetch: async (url, init) => {
      const text = await (await fetch(url, init)).text();
      return new Response(text.replace('"Outcome":', `"Note":${JSON.stringify(evil)},"Outcome":`));
    },
  });
  expect(got.out).toContain(`${node.NodeId} note: `);
  expect(got.out.match(/[^\P{C}\n]/gu)).toBeNull();
});

test.each([
  ['lsit', /unknown command 'lsit'\n\(Did you mean list\?\)/],
  ['list --statsu FAILED', /unknown option '--statsu'\n\(Did you mean --status\?\)/],
  ['list --status GONE', /Allowed choices are ROLLING_OUT/],
  ['watch www --timeout soon', /--timeout takes a time such as 90s/],
  ['list --expires-within 30', /--expires-within takes a time such as 90s, 30m, 12h or 30d/],
  ['register www', /required option '--tag <key=value>' not specified/],
  ['register www --tag web', /--tag takes key=value/],
  ['register www --tag acm-export=web --verify-port http', /A whole number is needed/],
  ['register www --tag acm-export=web --reset Nothing', /--reset takes names of fields: .*VerifyPort/],
  ['get a..b', /names no deployment/],
])('`acm-export %s` exits with 2 and says what is meant, before any call', async (words, says) => {
  const calls: unknown[] = [];
  const ran = await cli(words, {
    fetch: async (url) => {
      calls.push(url);
      throw new Error('no call');
    },
  });
  expect([ran.code, calls]).toEqual([2, []]);
  expect(ran.err).toMatch(says);
});

test('register sends the formats of a bundle as a list, and the API says of nodes that they have none', async () => {
  const bodies: string[] = [];
  const ran = await cli('register www --tag acm-export=www --bundle-formats pkcs12', {
    fetch: async (url, init) => {
      bodies.push(String(init?.body));
      return fetch(url, init);
    },
  });
  expect(bodies.map((body) => JSON.parse(body).BundleFormats)).toContainEqual(['pkcs12']);
  expect([ran.code, ran.err]).toEqual([
    2,
    expect.stringContaining('BundleFormats: only with Delivery secret'),
  ]);
});

test('what the API finds wrong exits with 2 and names each field', async () => {
  const ran = await cli('register www --tag acm-export=www --verify-port 99999 --key-group 77');
  expect(ran.code).toBe(2);
  expect(ran.err).toMatch(/The request is not valid\.\n.*VerifyPort: at most 65535/s);
  expect(ran.err).toContain('KeyGroup: not only digits');
});

test('a caller without the permission is told which one is missing, on which path', async () => {
  const { cloud, central } = fleet();
  const [id, stage] = new URL(central.apiUrl).pathname.split('/').slice(1);
  const api = `arn:aws:execute-api:${central.region}:${central.account}:${id}/${stage}`;
  const stranger = cloud.createUser(central.account, 'stranger', [
    {
      Version: '2012-10-17',
      Statement: {
        Effect: 'Allow',
        Action: 'execute-api:Invoke',
        Resource: `${api}/GET/certificates/www/*`,
      },
    },
  ]);
  expect((await cli('get www', { identity: stranger })).code).toBe(0);
  const ran = await cli('list', { identity: stranger });
  expect(ran.code).toBe(1);
  expect(ran.err).toMatch(
    /user\/stranger may not do this\.\nIt needs the permission execute-api:Invoke on arn:aws:execute-api:eu-west-1:\*:[a-z0-9]+\/v1\/GET\/deployments\n.*list --cert-name NAME/,
  );
  const denied = await cli('rollout www', { identity: stranger });
  expect(denied.err).toMatch(/\/v1\/POST\/certificates\/www\/deployments\/[0-9a-f]{24}\/rollouts/);
});

test('a session that has expired says how to log in, and shows no secret', async () => {
  const { cloud, operator } = fleet();
  const { accessKeyId, secretAccessKey } = operator.credentials;
  const answered = async () =>
    new Response(JSON.stringify({ message: 'The security token included in the request is expired' }), {
      status: 403,
    });
  const ran = await cli('list --profile team', { fetch: answered as typeof fetch });
  expect(ran.code).toBe(1);
  expect(ran.err).toContain('aws sso login --profile team');
  expect(ran.err).not.toContain(secretAccessKey);
  expect(ran.err).not.toContain(accessKeyId);
  expect(cloud.failures).toEqual([]);
});

test('calls that are throttled or get no answer are repeated, and not for ever', async () => {
  let failures = 0;
  const flaky: typeof fetch = async (url, init) => {
    failures += 1;
    if (failures === 1) return new Response('{"message":"Too Many Requests"}', { status: 429 });
    if (failures === 2) throw new TypeError('fetch failed');
    return fetch(url, init);
  };
  expect((await cli('get www', { fetch: flaky })).code).toBe(0);
  let asked = 0;
  const busy: typeof fetch = async () => {
    asked += 1;
    return new Response('{"message":"Too Many Requests"}', { status: 429 });
  };
  const ran = await cli('list', { fetch: busy });
  expect([ran.code, asked]).toEqual([1, 6]);
  expect(ran.err).toContain('Repeat the command in a minute.');
});
