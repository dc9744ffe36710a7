// `make local`: the local cloud with a small fleet, until it is told to quit. AWS CLI, curl and openssl can be pointed
// at it; what AWS has no API for (a lost event, a node that goes away, time that passes) are commands here.
import { fstatSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ACMClient, RenewCertificateCommand } from '@aws-sdk/client-acm';
import type { CloudNode, Identity } from 'local-cloud';
import type { TlsServer } from 'local-cloud/node';
import { startCloud } from './cloud.ts';
import { driftFiles, driftPort, mendPort, startForeign } from './drift.ts';
import {
  addHostedZone,
  addNode,
  CENTRAL,
  deployFleet,
  type Fleet,
  MEMBER,
  REQUESTS,
  requestCertificate,
  type ServingNode,
  served,
} from './example-fleet.ts';

const HOUR_MS = 3_600_000;

/** Waits of the services take a tenth of their time: an installation is seen to happen, and not waited for. */
const { TIME_SCALE = '0.1', PORT = '0' } = process.env;
console.log('Starting the local cloud ...');
const cloud = await startCloud({
  timeScale: Number(TIME_SCALE),
  port: Number(PORT),
  lenient: true,
  report: (failure) => console.log(`Warning: ${failure}`),
});

/** The command as another shell calls it, wherever it stands. */
const COMMAND = `node '${join(import.meta.dirname, '../build/cli/acm-export.mjs')}'`;

let certificateArn = '';
/** Servers of the command `foreign`. */
const foreign: TlsServer[] = [];

const commands: Record<
  string,
  { usage: string; does: string; run(fleet: Fleet, ...words: string[]): unknown }
> = {
  status: { usage: 'status', does: 'the nodes, where they serve and what', run: status },
  renew: {
    usage: 'renew [certificate ARN]',
    does: 'ACM renews the certificate (it must have been deployed once)',
    run: renew,
  },
  lose: {
    usage: 'lose',
    does: 'the next event of ACM reaches nobody; reconcile finds out within the hour',
    run: () => cloud.services.events.lose(({ source }) => source === 'aws.acm'),
  },
  advance: {
    usage: 'advance <hours>',
    does: 'moves the clock: waits end, schedules run, certificates come nearer to their end',
    run: (_fleet, hours = '1') => {
      const milliseconds = Number(hours) * HOUR_MS;
      if (!(milliseconds > 0)) throw new Error('a number of hours, please: 0.1 are six minutes');
      cloud.clock.advance(milliseconds);
    },
  },
  add: {
    usage: 'add [tag value] [ec2|hybrid]',
    does: 'a new node with a TLS server, in the central account',
    run: async (fleet, tag = 'web', kind = 'ec2') => {
      const serving = await addNode(fleet, CENTRAL, tag, {
        certName: 'www',
        kind: kind === 'hybrid' ? kind : 'ec2',
      });
      console.log(`${serving.node.id} tagged ${serving.tag}, at ${serving.host}:${serving.port}`);
    },
  },
  break: {
    usage: 'break <node>',
    does: 'a deploy hook on the node fails from now on: installations there are rolled back',
    run: async (_, id) => {
      const hook = hookOf(node(id));
      await mkdir(join(hook, '..'), { recursive: true, mode: 0o755 });
      await writeFile(hook, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    },
  },
  drift: {
    usage: 'drift <node> [files|port]',
    does: 'by hand, the node gets older or changed files, or its server another certificate',
    run: async (fleet, id, what = 'files') => {
      const drifts = { files: driftFiles, port: driftPort };
      if (!Object.hasOwn(drifts, what)) throw new Error('files or port, please');
      console.log(await drifts[what as keyof typeof drifts](serving(fleet, id)));
    },
  },
  foreign: {
    usage: 'foreign <node> [port]',
    does: 'one more TLS server on the node, with a certificate that nobody registered',
    run: async (fleet, id, port = '0') => {
      if (!/^\d{1,5}$/.test(port)) throw new Error('a port, please');
      const { server, subject } = await startForeign(serving(fleet, id), Number(port));
      foreign.push(server);
      console.log(`${server.host}:${server.port} serves a certificate of ${subject}`);
    },
  },
  mend: {
    usage: 'mend <node>',
    does: 'the hook is gone, and the server is configured with what was installed',
    run: async (fleet, id) => {
      await rm(hookOf(node(id)), { force: true });
      await mendPort(serving(fleet, id));
    },
  },
  offline: {
    usage: 'offline <node>',
    does: 'its agent cannot be reached',
    run: (_, id) => node(id).setOnline(false),
  },
  online: { usage: 'online <node>', does: 'its agent is back', run: (_, id) => node(id).setOnline(true) },
  untag: {
    usage: 'untag <node>',
    does: 'the role of the node loses its tags: it may no longer read the bundle',
    run: (_, id) => node(id).setRoleTags({}),
  },
  retag: {
    usage: 'retag <node>',
    does: 'the role has the tags of the node again',
    run: (_, id) => node(id).setRoleTags(node(id).spec.tags),
  },
  terminate: {
    usage: 'terminate <node>',
    does: 'the node is gone for ever',
    run: (_, id) => node(id).terminate(),
  },
  messages: {
    usage: 'messages',
    does: 'what was published for people',
    run: () => {
      for (const { at, subject, message } of cloud.services.sns.messages)
        console.log(`${at} ${subject}\n${message}\n`);
    },
  },
  calls: {
    usage: 'calls [number]',
    does: 'the last API calls: who called what, and how it was decided',
    run: (_fleet, count = '20') => {
      for (const { source, operation, status: code, error = '' } of cloud.record.calls.slice(
        -Number(count),
      )) {
        console.log(`${source.padEnd(44)} ${operation.padEnd(46)} ${code || 'no answer'} ${error}`);
      }
    },
  },
  models: {
    usage: 'models',
    does: 'the services and operations of AWS that are modelled here',
    run: () => {
      for (const [service, names] of Object.entries(cloud.operations()))
        console.log(`  ${service}: ${names.sort().join(', ')}`);
    },
  },
  help: { usage: 'help', does: 'this list', run: help },
  quit: { usage: 'quit', does: 'ends the local cloud and removes everything', run: () => input.close() },
};

function node(id: string | undefined): CloudNode {
  const found = cloud.nodes().find((candidate) => candidate.id === id);
  if (!found) throw new Error(`no node ${id}: see status`);
  return found;
}

function serving(fleet: Fleet, id: string | undefined): ServingNode {
  const found = node(id);
  return fleet.nodes.find((candidate) => candidate.node === found) as ServingNode;
}

const hookOf = ({ spec }: CloudNode) => join(spec.root, 'etc/acm-export/hooks-for-all-names.d/broken');

async function status(fleet: Fleet): Promise<void> {
  for (const serving of fleet.nodes) {
    const { id, account, spec } = serving.node;
    const state = cloud.nodes().includes(serving.node) ? (spec.online ? 'online' : 'offline') : 'terminated';
    const address = `${serving.host}:${serving.port}`;
    console.log(
      [id.padEnd(20), account, serving.tag.padEnd(16), state.padEnd(10), address, await served(serving)].join(
        '  ',
      ),
    );
  }
}

async function renew(fleet: Fleet, arn = certificateArn): Promise<void> {
  const acm = new ACMClient(cloud.clientConfig(fleet.certificateAdmin, CENTRAL.region));
  await acm.send(new RenewCertificateCommand({ CertificateArn: arn }));
  console.log(`ACM renews ${arn}`);
}

function help(): void {
  for (const { usage, does } of Object.values(commands)) console.log(`  ${usage.padEnd(30)} ${does}`);
}

const administratorOf = (account: string) =>
  cloud.createUser(account, 'administrator', [
    { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
  ]);

/** Lines for a shell: the AWS CLI, SDKs and curl then work on the central account. */
function environmentOf({ central }: Fleet, { credentials }: Identity): string[] {
  return [
    // Whatever else is set for the AWS CLI and SDKs: a profile, endpoints, FIPS.
    "unset AWS_PROFILE $(env | sed -n 's/^\\(AWS_[A-Z0-9_]*\\)=.*/\\1/p')",
    // Loopback goes through no proxy: curl and the AWS CLI read one or the other spelling.
    'export no_proxy=127.0.0.1,localhost NO_PROXY=127.0.0.1,localhost',
    `export AWS_ENDPOINT_URL=${cloud.endpoint}`,
    `export AWS_ACCESS_KEY_ID=${credentials.accessKeyId}`,
    `export AWS_SECRET_ACCESS_KEY='${credentials.secretAccessKey}'`,
    `export AWS_REGION=${CENTRAL.region} AWS_DEFAULT_REGION=${CENTRAL.region}`,
    `export API_URL=${central.apiUrl} ACM_EXPORT_ENDPOINT=${central.apiUrl}`,
    // By whose outputs the doctor finds who is told.
    'export ACM_EXPORT_STACK=acm-export-central',
    `export CERTIFICATE_ARN=${certificateArn}`,
  ];
}

/** A section for ~/.aws/config. */
function profileOf(name: string, region: string, { credentials }: Identity): string[] {
  return [
    `[profile ${name}]`,
    `endpoint_url = ${cloud.endpoint}`,
    `region = ${region}`,
    `aws_access_key_id = ${credentials.accessKeyId}`,
    `aws_secret_access_key = ${credentials.secretAccessKey}`,
  ];
}

async function introduce(fleet: Fleet): Promise<void> {
  const { central, port } = fleet;
  const administrator = administratorOf(CENTRAL.account);
  const environment = environmentOf(fleet, administrator);
  const file = join(cloud.folder, 'environment');
  await writeFile(file, `${environment.join('\n')}\n`, { mode: 0o600 });
  const profiles = [
    ...profileOf('acm-export-central', CENTRAL.region, administrator),
    ...profileOf('acm-export-member', MEMBER.region, administratorOf(MEMBER.account)),
  ];
  const body = JSON.stringify({
    CertificateArn: '$CERTIFICATE_ARN',
    TargetTagKey: 'acm-export',
    TargetTagValue: 'web',
    ReloadServices: [fleet.nodes[0]?.server.unit],
    VerifyPort: port,
  }).replaceAll('"', '\\"');
  const curl = `curl --noproxy '*' --aws-sigv4 aws:amz:${CENTRAL.region}:execute-api --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"`;
  console.log(`
The local cloud is at ${cloud.endpoint}, until it is told to quit
  central account ${CENTRAL.account} in ${CENTRAL.region}, API ${central.apiUrl}
  member account  ${MEMBER.account} in ${MEMBER.region}
  certificate     ${certificateArn}, may be deployed as www

Nodes, and where they serve which serial (still that of a placeholder):`);
  await status(fleet);
  console.log(`
For another shell, as an administrator of the central account; or just: . ${file}
  ${environment.join('\n  ')}

Or for ~/.aws/config, as administrators of both accounts (aws --profile acm-export-member ...; behind a proxy, only
with no_proxy as above):
  ${profiles.join('\n  ')}

There, for example:
  aws --endpoint-url "$AWS_ENDPOINT_URL" acm list-certificates
  ${curl} -d "${body}" "$API_URL/certificates/www/deployments"
  ${curl} "$API_URL/deployments"
  ${COMMAND} register www --certificate-arn "$CERTIFICATE_ARN" --tag acm-export=web --reload-services ${fleet.nodes[0]?.server.unit} --verify-port ${port}
  ${COMMAND} list
  ${COMMAND} doctor www
  ${COMMAND} request shop --domain shop.example.com --yes
  aws dynamodb scan --table-name acm-export-inventory
  openssl s_client -connect ${fleet.nodes[0]?.host}:${port} </dev/null 2>/dev/null | openssl x509 -noout -subject -serial

Modelled are ${Object.keys(cloud.operations()).join(', ')}, as far as acm-export uses them (see models).
Any other call is answered with NotModelled, and a warning stands here.

Commands here:`);
  help();
}

async function obey(fleet: Fleet, line: string): Promise<void> {
  const [name = '', ...words] = line.trim().split(/\s+/);
  if (name === '') return;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) return help();
  try {
    await command.run(fleet, ...words);
  } catch (error) {
    console.log((error as Error).message);
  }
}

/** Started without a terminal and without anybody who could type (`make local </dev/null &`). */
const isAlone = !process.stdin.isTTY && fstatSync(0).isCharacterDevice();
const input = createInterface({ input: process.stdin });
// The prompt is for people; a pipe gets answers only.
const prompt = () => process.stdin.isTTY && process.stdout.write('> ');
try {
  const fleet = await deployFleet(cloud, { central: { parameters: REQUESTS } });
  try {
    await addNode(fleet, CENTRAL, 'web', { certName: 'www' });
    await addNode(fleet, CENTRAL, 'web', { certName: 'www', kind: 'hybrid' });
    await addNode(fleet, MEMBER, 'web', { certName: 'www' });
    // RSA: the one that `aws acm list-certificates` shows without being asked for key types.
    certificateArn = await requestCertificate(fleet, 'www', ['www.example.com', 'example.com'], 'RSA_2048');
    await addHostedZone(fleet);
    await introduce(fleet);
    prompt();
    for await (const line of input) {
      await obey(fleet, line);
      prompt();
    }
    // A signal ends it then.
    if (isAlone) await new Promise(() => setInterval(() => {}, HOUR_MS));
  } finally {
    await Promise.all(
      [...fleet.nodes.map(({ server }) => server), ...foreign].map((server) => server.stop()),
    );
  }
} finally {
  input.close();
  await cloud.stop();
}
