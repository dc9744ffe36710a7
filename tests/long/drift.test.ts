import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createSecureContext, TLSSocket } from 'node:tls';
import { afterEach, expect, test } from '@jest/globals';
import { writeSelfSigned } from 'local-cloud/node';
import { addNode, CENTRAL, requestCertificate, type ServingNode, served } from '../../local/example-fleet.ts';
import { deliveredFiles } from '../../local/tls-server.ts';
import { deploy, deploymentOf, LOOK, order, pass, testFleet } from '../end-to-end/test-fleet.ts';

// What people and tools do to a server after an install, with the real scripts. The hour and ten minutes are the promise.

const fleet = testFleet();
let ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends) await end();
  ends = [];
});

const path = ({ node }: ServingNode, ...names: string[]) => join(node.spec.root, ...names);
const reload = ({ server }: ServingNode) => process.kill(server.pid, 'SIGHUP');
const verbatim = { recursive: true, verbatimSymlinks: true };
/** As a new disk in the place of the old one. */
async function swap(serving: ServingNode, disk: string) {
  await rename(path(serving, 'etc/ssl'), path(serving, 'old-disk'));
  await rename(path(serving, disk), path(serving, 'etc/ssl'));
}

/** A server that serves its certificate, after one renewal. `before` and `first` are copies of /etc/ssl of its past. */
async function renewed(name: string) {
  const { cloud, port } = fleet();
  const arn = await requestCertificate(fleet(), name, [`${name}.example.com`]);
  const serving = await addNode(fleet(), CENTRAL, name, { certName: name });
  await cp(path(serving, 'etc/ssl'), path(serving, 'before'), verbatim);
  const options = { ReloadServices: [serving.server.unit], VerifyPort: port };
  const { started } = await deploy(fleet(), name, order(arn, name, options));
  await cp(path(serving, 'etc/ssl'), path(serving, 'first'), verbatim);
  await cloud.services.acm.renew(arn);
  await cloud.idle();
  const view = () => deploymentOf(fleet(), name, started.DeploymentId);
  const { Serial, Status } = await view();
  expect([Status, await served(serving)]).toEqual(['INSTALLED', Serial]);
  cloud.services.sns.messages.length = 0;
  return { serving, Serial, view };
}

/** Copies of the installed files in the places of their links, as tools leave them that follow links. */
async function dereference(serving: ServingNode) {
  for (const file of Object.values(deliveredFiles(serving.node.spec.root, serving.certName))) {
    const content = await readFile(file).catch(() => undefined);
    if (content) {
      await rm(file);
      await writeFile(file, content, { mode: 0o600 });
    }
  }
}

test.each<[string, string, (serving: ServingNode) => Promise<void>]>([
  ['a volume that was swapped for an older one', 'older', (serving) => swap(serving, 'first')],
  ['a volume of before the first install', 'before', (serving) => swap(serving, 'before')],
  ['plain copies in the places of links', 'copies', dereference],
  [
    'a folder that is gone',
    'gone',
    (serving) => rm(path(serving, 'etc/ssl/acm-export/gone'), { recursive: true }),
  ],
])('%s is healed within the hour and ten minutes, and nobody is told', async (_, name, breakIt) => {
  const { serving, Serial, view } = await renewed(name);
  await breakIt(serving);
  reload(serving);
  await pass(fleet(), ...LOOK);
  expect(await served(serving)).toBe(Serial);
  const deployment = await view();
  expect(deployment).toMatchObject({ Status: 'INSTALLED', LastHealing: { Status: 'INSTALLED' } });
  expect(deployment.Nodes[0]).not.toHaveProperty('Finding');
  expect(fleet().cloud.services.sns.messages).toEqual([]);
  // And the next looks agree.
  await pass(fleet(), ...LOOK);
  expect(await view()).toMatchObject({ Status: 'INSTALLED', LastHealing: deployment.LastHealing });
});

test('a port that takes three seconds to answer is no finding', async () => {
  const { serving, Serial, view } = await renewed('slow');
  await serving.server.stop();
  const { fullchain, key } = deliveredFiles(serving.node.spec.root, 'slow');
  const secureContext = createSecureContext({ cert: await readFile(fullchain), key: await readFile(key) });
  let asked = 0;
  const slow = createServer((socket) => {
    asked += 1;
    socket.on('error', () => undefined);
    setTimeout(() => {
      new TLSSocket(socket, { isServer: true, secureContext }).on('error', () => undefined);
    }, 3000);
  });
  ends.push(() => slow.close());
  await new Promise<void>((resolve) => slow.listen(serving.port, serving.host, resolve));
  await pass(fleet(), ...LOOK);
  expect(asked).toBeGreaterThan(0);
  const deployment = await view();
  expect(deployment).toMatchObject({ Status: 'INSTALLED' });
  expect(deployment.Nodes).toMatchObject([{ Serves: { Serial, Seen: 'port' } }]);
  expect(deployment.Nodes[0]).not.toHaveProperty('Finding');
  expect(fleet().cloud.services.sns.messages).toEqual([]);
});

test('the files of another tool in the places of links stay, and people are told of them and why', async () => {
  const { serving, view } = await renewed('certbot');
  const files = deliveredFiles(serving.node.spec.root, 'certbot');
  for (const file of [files.fullchain, files.key]) await rm(file);
  await writeSelfSigned({ ...files, combined: path(serving, 'combined') }, 'certbot.example.com');
  const theirs = await readFile(files.fullchain, 'utf8');
  reload(serving);
  await pass(fleet(), ...LOOK);
  expect(await readFile(files.fullchain, 'utf8')).toBe(theirs);
  const deployment = await view();
  expect(deployment).toMatchObject({ Status: 'DEGRADED', LastHealing: { Status: 'FAILED' } });
  expect(deployment.Nodes).toMatchObject([{ Finding: { Kind: 'damaged' } }]);
  const told = fleet().cloud.services.sns.messages.filter(({ subject }) =>
    subject?.startsWith(`certbot on ${serving.node.id} has damaged files`),
  );
  expect(told).toHaveLength(1);
  expect(told[0]?.message).toContain(
    `(links). Installing it again did not help: ${files.fullchain} is no link of this script: move it away`,
  );
});
