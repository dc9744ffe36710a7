import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, expect, test } from '@jest/globals';
import { ca, first, node, second, setUpInstalls } from '../ssm-documents/install-set-up.ts';
import { listens, look, portsOf, serve, stopServers } from '../ssm-documents/run-look.ts';

setUpInstalls();

// Looks that take their time: ports that are slow or silent, and installs that go on meanwhile.

afterEach(stopServers);

const secondsOf = async <T>(act: () => Promise<T>): Promise<[T, number]> => {
  const began = Date.now();
  return [await act(), (Date.now() - began) / 1000];
};

/** Installs names without a look at their ports, and notes these afterwards: an install would go back. */
async function note(ports: number[]) {
  for (const [index, port] of ports.entries()) {
    const name = `web-${String(index).padStart(2, '0')}`;
    await node.install(first, 1, { SSM_CertName: name });
    const file = node.ssl('acm-export', name, 'current/.options');
    await writeFile(file, (await readFile(file, 'utf8')).replace('|0|', `|${port}|`));
  }
}

test('a port that answers slowly serves; one that accepts and says nothing is silent, after three tries', async () => {
  const [slow, silent] = [await serve(first, { after: 3000 }), await serve(undefined)];
  await note([slow.port, silent.port]);
  const [seen, seconds] = await secondsOf(() => look(node));
  expect(portsOf(seen)).toEqual([
    expect.stringMatching(`^${slow.port}=${first.value.Serial}=`),
    `${silent.port}=silent`,
  ]);
  expect(seconds).toBeGreaterThan(15);
  expect(seconds).toBeLessThan(25);
});

test('many silent ports, ours and of others, come to an end in time', async () => {
  const [silent, serving] = [await serve(undefined), await serve(first)];
  await note([...Array.from({ length: 30 }, () => silent.port), serving.port]);
  const others = await Promise.all(Array.from({ length: 40 }, () => serve(undefined)));
  const foreign = await serve(second);
  await listens(node, [...others.map(({ port }) => port), foreign.port]);
  const [seen, seconds] = await secondsOf(() => look(node));
  expect(seconds).toBeLessThan(100);
  expect(portsOf(seen)).toHaveLength(31);
  expect(portsOf(seen).slice(0, 30)).toEqual(Array(30).fill(`${silent.port}=silent`));
});

test('a fleet of ports under load is told from silence', async () => {
  const servers = await Promise.all(
    Array.from({ length: 8 }, (_, index) => serve(first, { after: 500 * index })),
  );
  await note(servers.map(({ port }) => port));
  const seen = portsOf(await look(node));
  expect(seen.filter((port) => !port.includes(`=${first.value.Serial}=`))).toEqual([]);
});

test('whatever an install is doing, a look never calls its files missing or damaged', async () => {
  await node.install(first);
  let goesOn = true;
  const installs = (async () => {
    for (let rollout = 2; goesOn; rollout++) await node.install(rollout % 2 ? first : second, rollout);
  })();
  const states: string[] = [];
  const until = Date.now() + 40_000;
  while (Date.now() < until) {
    const { certificates } = await look(node);
    states.push(...certificates.map(({ files }) => files));
  }
  goesOn = false;
  await installs;
  expect(states.length).toBeGreaterThan(20);
  expect(new Set(states)).toEqual(new Set(['ok', 'unfinished']));
});

test('a certificate of each key type is a pair with its key', async () => {
  for (const [index, algorithm] of (['RSA-2048', 'P-256', 'P-384'] as const).entries()) {
    await node.install(await ca.newBundle(algorithm), index + 1);
    expect((await look(node)).certificates).toMatchObject([{ files: 'ok' }]);
  }
});
