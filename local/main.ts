// `make local`: the local cloud with a small fleet, until it is told to quit. AWS CLI, curl and openssl can be pointed
// at it; what no API of AWS offers (a lost event, a node that goes away, time that passes) are commands here.
import { createInterface } from 'node:readline';
import { ACMClient, ListCertificatesCommand, RenewCertificateCommand } from '@aws-sdk/client-acm';
import { type CloudNode, type Identity, startCloud } from './cloud.ts';
import {
  addNode,
  CENTRAL,
  deployFleet,
  type Fleet,
  MEMBER,
  requestCertificate,
  served,
} from './example-fleet.ts';

const HOUR_MS = 3_600_000;

/** Waits of the services take a tenth of their time: an installation is seen to happen, and not waited for. */
const cloud = await startCloud({ timeScale: 0.1, port: Number(process.env.PORT ?? 0) });

const commands: Record<
  string,
  { usage: string; does: string; run(fleet: Fleet, ...words: string[]): unknown }
> = {
  status: { usage: 'status', does: 'the nodes and what each serves', run: status },
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
    run: (_fleet, hours = '1') => cloud.clock.advance(Number(hours) * HOUR_MS),
  },
  add: {
    usage: 'add [tag value] [ec2|hybrid]',
    does: 'a new node with a TLS server, in the central account',
    run: async (fleet, tag = 'web', kind = 'ec2') => {
      const { node } = await addNode(fleet, CENTRAL, tag, {
        certName: 'www',
        kind: kind === 'hybrid' ? kind : 'ec2',
      });
      console.log(`${node.id} tagged acm-export=${tag}`);
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
    does: 'the role has the node’s tags again',
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
  quit: { usage: 'quit', does: 'ends the local cloud and removes everything', run: () => input.close() },
};

function node(id: string | undefined): CloudNode {
  const found = cloud.nodes().find((candidate) => candidate.id === id);
  if (!found) throw new Error(`no node ${id}: see status`);
  return found;
}

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

async function renew(fleet: Fleet, arn?: string): Promise<void> {
  const acm = new ACMClient(cloud.clientConfig(fleet.certificateAdmin, CENTRAL.region));
  const { CertificateSummaryList = [] } = await acm.send(
    new ListCertificatesCommand({ Includes: { keyTypes: ['EC_prime256v1', 'RSA_2048'] } }),
  );
  const CertificateArn = arn ?? CertificateSummaryList[0]?.CertificateArn;
  await acm.send(new RenewCertificateCommand({ CertificateArn }));
  console.log(`ACM renews ${CertificateArn}`);
}

function help(): void {
  for (const { usage, does } of Object.values(commands)) console.log(`  ${usage.padEnd(30)} ${does}`);
}

function shell(name: string, { credentials }: Identity): string {
  return `${name}() { AWS_ACCESS_KEY_ID=${credentials.accessKeyId} AWS_SECRET_ACCESS_KEY='${credentials.secretAccessKey}' AWS_ENDPOINT_URL=${cloud.endpoint} AWS_REGION=${CENTRAL.region} AWS_DEFAULT_REGION=${CENTRAL.region} "$@"; }`;
}

function introduce(fleet: Fleet, certificateArn: string): void {
  const { operator, central, port } = fleet;
  const administrator = cloud.createUser(CENTRAL.account, 'administrator', [
    { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
  ]);
  const { accessKeyId, secretAccessKey } = operator.credentials;
  const body = JSON.stringify({
    CertificateArn: certificateArn,
    TargetTagKey: 'acm-export',
    TargetTagValue: 'web',
    ReloadServices: [fleet.nodes[0]?.server.unit],
    VerifyPort: port,
  });
  console.log(`
The local cloud is at ${cloud.endpoint}
  central account ${CENTRAL.account} in ${CENTRAL.region}, API ${central.apiUrl}
  member account  ${MEMBER.account} in ${MEMBER.region}
  certificate     ${certificateArn}

Paste these into another shell, for the AWS CLI as an administrator of the central account:
  ${shell('as_administrator', administrator)}
  as_administrator aws acm list-certificates --includes keyTypes=EC_prime256v1
  as_administrator aws ssm describe-instance-information
  as_administrator aws dynamodb scan --table-name acm-export-inventory

Deploy the certificate to all nodes tagged acm-export=web, as a caller of the API, and look at a node:
  curl --aws-sigv4 aws:amz:${CENTRAL.region}:execute-api --user '${accessKeyId}:${secretAccessKey}' -d '${body}' ${central.apiUrl}/certificates/www/deployments
  curl --aws-sigv4 aws:amz:${CENTRAL.region}:execute-api --user '${accessKeyId}:${secretAccessKey}' ${central.apiUrl}/certificates/www/deployments
  openssl s_client -connect ${fleet.nodes[0]?.host}:${port} </dev/null 2>/dev/null | openssl x509 -noout -subject -serial

Commands here:`);
  help();
}

async function obey(fleet: Fleet, line: string): Promise<void> {
  const [name = '', ...words] = line.trim().split(/\s+/);
  if (name === '') return;
  const command = commands[name];
  if (!command) return help();
  try {
    await command.run(fleet, ...words);
  } catch (error) {
    console.log((error as Error).message);
  }
}

const input = createInterface({ input: process.stdin });
// The prompt is for people; a pipe gets answers only.
const prompt = () => process.stdin.isTTY && process.stdout.write('> ');
try {
  const fleet = await deployFleet(cloud);
  try {
    await addNode(fleet, CENTRAL, 'web', { certName: 'www' });
    await addNode(fleet, CENTRAL, 'web', { certName: 'www', kind: 'hybrid' });
    await addNode(fleet, MEMBER, 'web', { certName: 'www' });
    introduce(fleet, await requestCertificate(fleet, 'www', ['www.example.com', 'example.com']));
    prompt();
    for await (const line of input) {
      await obey(fleet, line);
      prompt();
    }
  } finally {
    await Promise.all(fleet.nodes.map(({ server }) => server.stop()));
  }
} finally {
  input.close();
  // What is not modelled was told when it was asked for; whoever tries things out has done nothing wrong.
  await cloud.stop().catch(() => {});
}
