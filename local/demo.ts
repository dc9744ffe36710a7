// The main job on one machine: register, install, renew, heal. Ends with what every node serves and what the
// inventory says, and fails if any of it is not so.
import { setTimeout as sleep } from 'node:timers/promises';
import { ACMClient, DescribeCertificateCommand, RenewCertificateCommand } from '@aws-sdk/client-acm';
import { startCloud } from './cloud.ts';
import {
  addNode,
  CENTRAL,
  callApi,
  deployFleet,
  type Fleet,
  MEMBER,
  requestCertificate,
  type ServingNode,
  served,
} from './example-fleet.ts';
import { openConnections } from './node/tls-client.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const started = performance.now();
const tell = (line: string) => {
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  console.log(`${seconds} s  ${line}`);
};

/** What was promised and is not so: then the exit code is 1. */
const broken: string[] = [];
const check = (promise: string, kept: boolean, found = '') => {
  tell(kept ? `  ok: ${promise}` : `  NOT SO: ${promise} ${found}`);
  if (!kept) {
    broken.push(promise);
  }
};

/**
 * Waits until something is so, or says that it never was. (For a tenth of a second after a reload the old processes
 * of nginx go on accepting beside the new ones.)
 */
async function until(isSo: () => Promise<boolean>): Promise<boolean> {
  // A minute is many times what the longest rollout here takes on a busy machine.
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    if (await isSo()) {
      return true;
    }
    await sleep(100);
  }
  return false;
}

interface Deployment {
  DeploymentId: string;
  TargetAccount: string;
  Status: string;
  Serial?: string;
  NotAfter: string;
  Nodes: { NodeId: string; Outcome: string; Serial?: string; Error?: string }[];
}

const deploymentOf = async (fleet: Fleet, id: string) =>
  (await callApi(fleet, 'GET', `/certificates/www/deployments/${id}`)) as unknown as Deployment;

const allServe = async (nodes: ServingNode[], serial: string) =>
  (await Promise.all(nodes.map(served))).every((found) => found === serial);

async function demo(fleet: Fleet): Promise<void> {
  const { cloud } = fleet;
  tell(`template.yaml is deployed in ${CENTRAL.account} ${CENTRAL.region}, member-account.yaml there and in`);
  tell(`${MEMBER.account} ${MEMBER.region}. Every call is signed, and allowed by their policies or denied.`);

  const targeted = [
    await addNode(fleet, CENTRAL, 'web', { certName: 'www' }),
    await addNode(fleet, CENTRAL, 'web', { certName: 'www' }),
    await addNode(fleet, CENTRAL, 'web', { certName: 'www' }),
    await addNode(fleet, MEMBER, 'web', { certName: 'www', kind: 'hybrid' }),
  ];
  const other = await addNode(fleet, CENTRAL, 'mail', { certName: 'www' });
  const placeholder = await served(other);
  const { kind, unit } = other.server;
  tell(
    `5 nodes run ${kind === 'node' ? 'a TLS server of Node' : kind} with a placeholder: 3 EC2 instances and 1 hybrid`,
  );
  tell('node are tagged web, 1 EC2 instance mail');

  const arn = await requestCertificate(fleet, 'www', ['www.example.com', 'example.com']);
  tell(`ACM issued ${arn}`);

  console.log();
  const ids: string[] = [];
  for (const { account, region } of [CENTRAL, MEMBER]) {
    const answer = await callApi(fleet, 'POST', '/certificates/www/deployments', {
      CertificateArn: arn,
      TargetTagKey: 'acm-export',
      TargetTagValue: 'web',
      TargetAccount: account,
      TargetRegion: region,
      ReloadServices: [unit],
      VerifyPort: fleet.port,
    });
    ids.push(String(answer.DeploymentId));
    tell(
      `POST /certificates/www/deployments for acm-export=web in ${account}: deployment ${answer.DeploymentId}`,
    );
  }
  const deployments = () => Promise.all(ids.map((id) => deploymentOf(fleet, id)));
  await until(async () => (await deployments()).every(({ Status }) => Status !== 'ROLLING_OUT'));
  const first = (await deployments())[0]?.Serial ?? '';
  const installed = await until(() => allServe(targeted, first));
  check(`the 4 nodes tagged web serve serial ${first}`, installed);
  check('the node tagged mail serves what it served', (await served(other)) === placeholder);

  console.log();
  const clients = targeted.map(({ host, port }) => openConnections({ host, port }));
  tell('ACM renews the certificate, while clients connect to every node all the time');
  const second = await renew(fleet, arn);
  const renewed = await until(() => allServe(targeted, second));
  check(`the 4 nodes serve the new serial ${second}, without any request`, renewed);

  tell('ACM renews again, and its event is lost; an hour later reconcile compares the serials');
  cloud.services.events.lose((event) => event['detail-type'] === 'ACM Certificate Available');
  await cloud.idle();
  const third = await renew(fleet, arn);
  cloud.clock.advance(HOUR_MS);
  const healed = await until(() => allServe(targeted, third));
  check(`the 4 nodes serve serial ${third}`, healed);

  const counts = await Promise.all(clients.map((client) => client.stop()));
  const handshakes = counts.reduce((sum, count) => sum + count.handshakes, 0);
  const failures = counts.flatMap((count) => count.failures);
  check(
    `none of ${handshakes} connections failed`,
    failures.length === 0 && handshakes > 0,
    `(${failures.length} did: ${failures[0]})`,
  );

  tell('A new instance tagged web starts; within five minutes reconcile finds it');
  await cloud.idle();
  const fresh = await addNode(fleet, CENTRAL, 'web', { certName: 'www' });
  targeted.push(fresh);
  cloud.clock.advance(5 * MINUTE_MS);
  const found = await until(() => allServe(targeted, third));
  check('it serves the certificate, without any request', found);
  await cloud.idle();

  await showAndCheck(fleet, await deployments(), third, other);
}

/** Renews in the local ACM, as ACM does by itself 45 days before expiry; gives the new serial when ACM shows it. */
async function renew(fleet: Fleet, CertificateArn: string): Promise<string> {
  const acm = new ACMClient(fleet.cloud.clientConfig(fleet.certificateAdmin, CENTRAL.region));
  const serial = async () => {
    const { Certificate } = await acm.send(new DescribeCertificateCommand({ CertificateArn }));
    return (Certificate?.Serial ?? '').replaceAll(':', '');
  };
  const before = await serial();
  await acm.send(new RenewCertificateCommand({ CertificateArn }));
  await until(async () => (await serial()) !== before);
  return serial();
}

async function showAndCheck(
  fleet: Fleet,
  deployments: Deployment[],
  serial: string,
  other: ServingNode,
): Promise<void> {
  console.log();
  const records = new Map(deployments.flatMap(({ Nodes }) => Nodes.map((node) => [node.NodeId, node])));
  const line = (cells: string[]) =>
    cells.map((cell, column) => cell.padEnd([21, 16, 34, 0][column] ?? 0)).join(' ');
  console.log(line(['Node', 'Tag', 'Serves serial', 'The inventory says']));
  for (const serving of fleet.nodes) {
    const serves = await served(serving);
    const record = records.get(serving.node.id);
    const says = record ? `${record.Outcome} ${record.Serial}` : 'nothing: not targeted';
    console.log(line([serving.node.id, serving.tag, serves, says]));
    const right =
      serving === other
        ? record === undefined
        : record?.Serial === serial && serves === serial && /installed|unchanged/.test(record.Outcome);
    if (!right) {
      broken.push(`${serving.node.id} is as the inventory says`);
    }
  }
  console.log();
  for (const { DeploymentId, TargetAccount, Status, NotAfter } of deployments) {
    console.log(`Deployment ${DeploymentId} in ${TargetAccount}: ${Status}, expires ${NotAfter}`);
    if (Status !== 'INSTALLED') {
      broken.push(`deployment ${DeploymentId} is INSTALLED`);
    }
  }
  console.log();
}

// Waits and retries of the cloud take a fiftieth of their time; the clock itself runs as it does everywhere.
const cloud = await startCloud({ timeScale: 0.02 });
try {
  tell(`Local cloud at ${cloud.endpoint}`);
  const fleet = await deployFleet(cloud);
  try {
    await demo(fleet);
  } finally {
    await Promise.all(fleet.nodes.map(({ server }) => server.stop()));
  }
} finally {
  await cloud.stop();
}
if (broken.length > 0) {
  console.log(`NOT as promised: ${broken.join('; ')}`);
  process.exitCode = 1;
} else {
  tell('All is as promised. The local cloud is gone, with every key in it.');
}
