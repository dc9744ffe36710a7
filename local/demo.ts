// The main job on one machine: register, install, renew, look again, heal. Ends with what every node serves and what the
// inventory says. What is not as promised ends it at once, with exit code 1.
import { setTimeout as sleep } from 'node:timers/promises';
import { ACMClient, DescribeCertificateCommand, RenewCertificateCommand } from '@aws-sdk/client-acm';
import { openConnections } from 'local-cloud/node';
import { startCloud } from './cloud.ts';
import { driftFiles, driftPort, mendPort } from './drift.ts';
import {
  addHostedZone,
  addNode,
  CENTRAL,
  callApi,
  deployFleet,
  type Fleet,
  MEMBER,
  REQUESTS,
  type ServingNode,
  served,
} from './example-fleet.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * Shorter than a stack's hour: within 15 minutes after it healed a node the system does not try again, so that people are
 * told at once of the one whose configuration no reload mends.
 */
const LOOK_MINUTES = 10;

const started = performance.now();
const tell = (line: string) => {
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  console.log(`${seconds} s  ${line}`);
};

/** Something that was promised and is not so: the demo ends there, with exit code 1. */
class NotSo extends Error {}

function check(promise: string, isKept: boolean, seen = ''): void {
  if (!isKept) throw new NotSo(`${promise}. Seen: ${seen}`);
  tell(`  ok: ${promise}`);
}

/** What takes as long hangs: the longest wait here is a few seconds, and machines are busy. */
const HANGS_AFTER_MS = 10 * MINUTE_MS;
const PROGRESS_EVERY_MS = 5000;

/**
 * Looks again until something is so, and says meanwhile what it waits for. A look gives true, or what it saw instead.
 * One that fails is a "not yet"; one that throws NotSo has seen that it never will be.
 */
async function waitFor(what: string, look: () => Promise<true | string>, pauseMs = 100): Promise<void> {
  const began = performance.now();
  let told = began;
  for (;;) {
    let isLost = false;
    const seen = await look().catch((error: Error) => {
      isLost = error instanceof NotSo;
      return isLost ? error.message : `the look failed: ${error.message}`;
    });
    if (seen === true) return;
    const now = performance.now();
    const waited = `${Math.round((now - began) / 1000)} s`;
    if (isLost || now - began > HANGS_AFTER_MS)
      throw new NotSo(`${what}. Waited for ${waited}. Seen: ${seen}`);
    if (now - told > PROGRESS_EVERY_MS) {
      tell(`  ... waiting for ${waited} until ${what}. Seen: ${seen}`);
      told = now;
    }
    await sleep(pauseMs);
  }
}

/** The same for a promise that is kept in the end. */
async function waitUntil(
  promise: string,
  look: () => Promise<true | string>,
  pauseMs?: number,
): Promise<void> {
  await waitFor(promise, look, pauseMs);
  tell(`  ok: ${promise}`);
}

interface Deployment {
  DeploymentId: string;
  TargetAccount: string;
  Status: string;
  Serial?: string;
  LastError?: string;
  NotAfter: string;
  Nodes: {
    NodeId: string;
    Outcome: string;
    Serial?: string;
    Error?: string;
    Finding?: { Kind: string; Text: string };
  }[];
}

const deploymentOf = async (fleet: Fleet, id: string) =>
  (await callApi(fleet, 'GET', `/certificates/www/deployments/${id}`)) as unknown as Deployment;

/** The servers are asked all the time, the API rarely: its answer costs ten times as much as a handshake. */
const API_PAUSE_MS = 200;
const INVENTORY_EVERY_MS = 3000;

/**
 * A look at whether all nodes serve this serial; else it gives what each serves, and what the inventory says of the
 * deployments.
 */
function allServe(
  fleet: Fleet,
  nodes: ServingNode[],
  serial: string,
  ids: string[],
): () => Promise<true | string> {
  let asked = performance.now();
  let seen = 'some do not yet';
  let late = nodes[0] as ServingNode;
  return async () => {
    const isToReport = performance.now() - asked > INVENTORY_EVERY_MS;
    // While one is known to serve something else, the others need not be asked.
    if (!isToReport && (await served(late)) !== serial) return seen;
    const found = await Promise.all(nodes.map(served));
    if (found.every((one) => one === serial)) return true;
    late = nodes.find((_node, index) => found[index] !== serial) as ServingNode;
    if (!isToReport) return seen;
    asked = performance.now();
    const deployments = await Promise.all(ids.map((id) => deploymentOf(fleet, id)));
    seen = [
      ...nodes.flatMap(({ node }, index) =>
        found[index] === serial ? [] : `${node.id} serves ${found[index]}`,
      ),
      ...deployments.map(({ TargetAccount, Status, LastError = '' }) =>
        `deployment in ${TargetAccount} is ${Status} ${LastError}`.trim(),
      ),
    ].join('; ');
    if (deployments.some(({ Status }) => Status === 'FAILED')) throw new NotSo(seen);
    return seen;
  };
}

/** Everything that was begun has ended. */
async function rest(fleet: Fleet): Promise<void> {
  const idle = fleet.cloud.idle().then(() => true as const);
  await waitFor('no function, rollout or installation is under way', () =>
    Promise.race([idle, sleep(PROGRESS_EVERY_MS, 'some are', { ref: false })]),
  );
}

async function demo(fleet: Fleet): Promise<void> {
  const { cloud } = fleet;
  tell(
    `template.yaml is in ${CENTRAL.account} ${CENTRAL.region}, member-account.yaml there and in ${MEMBER.account}`,
  );
  tell(`${MEMBER.region}. Every call is signed, and allowed by their policies or denied.`);

  tell(
    '5 nodes start, each with a TLS server and a placeholder: 3 EC2 instances and 1 hybrid node are tagged',
  );
  tell('web, 1 EC2 instance mail');
  const nodes = await Promise.all([
    addNode(fleet, CENTRAL, 'web', { certName: 'www' }),
    addNode(fleet, CENTRAL, 'web', { certName: 'www' }),
    addNode(fleet, CENTRAL, 'web', { certName: 'www' }),
    addNode(fleet, MEMBER, 'web', { certName: 'www', kind: 'hybrid' }),
    addNode(fleet, CENTRAL, 'mail', { certName: 'www' }),
  ]);
  const targeted = nodes.slice(0, 4);
  const other = nodes[4] as ServingNode;
  const placeholder = await served(other);
  const { unit } = other.server;

  const { arn, ids } = await requestServed(fleet, unit);
  const first = await serialOf(fleet, arn);
  const serve = (serial: string) => allServe(fleet, targeted, serial, ids);
  await waitUntil(`the 4 nodes tagged web serve serial ${first}`, serve(first));
  const untouched = await served(other);
  check('the node tagged mail serves what it served', untouched === placeholder, untouched);

  console.log();
  const clients = targeted.map(({ host, port }) =>
    openConnections({ host, port }, { clients: 1, pauseMilliseconds: 400 }),
  );
  tell('ACM renews the certificate, while clients connect to every node all the time');
  const second = await renew(fleet, arn);
  await waitUntil(`the 4 nodes serve the new serial ${second}, without any request`, serve(second));

  await rest(fleet);
  const strange = await drift(fleet, targeted, second, ids[0] as string);

  tell('ACM renews again, and its event is lost; an hour later reconcile compares the serials');
  cloud.services.events.lose((event) => event['detail-type'] === 'ACM Certificate Available');
  const third = await renew(fleet, arn);
  cloud.clock.advance(HOUR_MS);
  await waitUntil(`the 4 nodes serve serial ${third}`, serve(third));

  const counts = await Promise.all(clients.map((client) => client.stop()));
  const handshakes = counts.reduce((sum, count) => sum + count.handshakes, 0);
  const failures = counts.flatMap((count) => count.failures);
  const unexpected = counts.flatMap(({ serials }) => [
    ...new Set(serials.keys()).difference(new Set([first, second, third, strange])),
  ]);
  check(
    `none of ${handshakes} connections failed, and each saw a certificate that its server was given`,
    failures.length === 0 && unexpected.length === 0 && handshakes > 0,
    `${failures.length} failed, one of them with: ${failures[0]}; serials that nobody put there: ${unexpected}`,
  );

  await rest(fleet);
  tell('A new instance tagged web starts; within five minutes reconcile finds it');
  const fresh = await addNode(fleet, CENTRAL, 'web', { certName: 'www' });
  targeted.push(fresh);
  cloud.clock.advance(5 * MINUTE_MS);
  await waitUntil('it serves the certificate, without any request', serve(third));
  await rest(fleet);

  await showAndCheck(fleet, await Promise.all(ids.map((id) => deploymentOf(fleet, id))), third, other);
}

/** One request, and nothing else: the certificate, its validation in a zone of another account, and where it goes. */
async function requestServed(fleet: Fleet, unit: string): Promise<{ arn: string; ids: string[] }> {
  tell(`The zone example.com is in ${MEMBER.account}, with dns-account.yaml. It has no record of ACM`);
  await addHostedZone(fleet);

  console.log();
  const { Deployments } = await callApi(fleet, 'POST', '/certificates/www', {
    DomainNames: ['www.example.com', 'example.com'],
    KeyAlgorithm: 'EC_prime256v1',
    Deployments: [CENTRAL, MEMBER].map(({ account, region }) => ({
      TargetTagKey: 'acm-export',
      TargetTagValue: 'web',
      TargetAccount: account,
      TargetRegion: region,
      ReloadServices: [unit],
      VerifyPort: fleet.port,
    })),
  });
  tell('POST /certificates/www for www.example.com and example.com, to acm-export=web in both accounts');
  let arn = '';
  let said = '';
  const look = async () => {
    const { Status, Reason, Error: error, CertificateArn } = await callApi(fleet, 'GET', '/certificates/www');
    if (Status === 'FAILED') throw new NotSo(String(error));
    if (Reason !== said) tell(`      "${Reason}"`);
    said = String(Reason);
    arn = String(CertificateArn);
    return Status === 'DONE' || said;
  };
  await waitUntil('ACM has issued it, and the deployments are registered', look, API_PAUSE_MS);
  return { arn, ids: (Deployments as Deployment[]).map(({ DeploymentId }) => DeploymentId) };
}

/**
 * Breaks two servers by hand, one after the other.
 *
 * @returns the serial that the second one served meanwhile.
 */
async function drift(fleet: Fleet, nodes: ServingNode[], serial: string, id: string): Promise<string> {
  const { clock, services } = fleet.cloud;
  const [healed, told] = nodes as [ServingNode, ServingNode];
  const pass = async (minutes: number) => {
    clock.advance(minutes * MINUTE_MS);
    await rest(fleet);
  };
  /** A reload takes milliseconds. */
  const comesToServe = (what: string, serving: ServingNode, isSo: (serves: string) => boolean) =>
    waitFor(
      `${serving.node.id} serves ${what}`,
      async () => {
        const serves = await served(serving);
        return isSo(serves) || serves;
      },
      10,
    );

  console.log();
  tell(`By hand, an older copy of its files is put back on ${healed.node.id}, and its server reloaded`);
  await driftFiles(healed);
  await comesToServe('an older version', healed, (serves) => serves !== serial);
  tell(`Looks come each ${LOOK_MINUTES} minutes here, and are read five minutes later`);
  await pass(LOOK_MINUTES);
  await pass(5);
  await waitUntil(
    'the look finds it, and it is healed without any request',
    allServe(fleet, nodes, serial, [id]),
  );
  check(
    'nobody is told of what was healed',
    services.sns.messages.length === 0,
    services.sns.messages[0]?.subject,
  );

  tell(`By hand, the server on ${told.node.id} is configured to serve another certificate`);
  await driftPort(told);
  await comesToServe('another certificate', told, (serves) => serves !== serial);
  const strange = await served(told);
  await pass(5);
  await pass(5);
  const { Status, Nodes } = await deploymentOf(fleet, id);
  const finding = Nodes.find(({ NodeId }) => NodeId === told.node.id)?.Finding;
  const [message, another] = services.sns.messages;
  check(
    `the look finds it: the deployment is ${Status}, and people are told`,
    Status === 'DEGRADED' &&
      finding?.Kind === 'foreign' &&
      message?.message.includes(finding.Text) === true &&
      !another,
    JSON.stringify({ Status, finding, message, another }),
  );
  tell(`      "${message?.subject}: ${finding?.Text}"`);
  tell('The configuration is mended, and POST .../rollouts looks at once');
  await mendPort(told);
  await comesToServe('what was installed', told, (serves) => serves === serial);
  await callApi(fleet, 'POST', `/certificates/www/deployments/${id}/rollouts`);
  await rest(fleet);
  const mended = await deploymentOf(fleet, id);
  check('it is INSTALLED again', mended.Status === 'INSTALLED', mended.Status);
  return strange;
}

async function serialOf(fleet: Fleet, CertificateArn: string): Promise<string> {
  const acm = new ACMClient(fleet.cloud.clientConfig(fleet.certificateAdmin, CENTRAL.region));
  const { Certificate } = await acm.send(new DescribeCertificateCommand({ CertificateArn }));
  return (Certificate?.Serial ?? '').replaceAll(':', '');
}

/** Renews in the local ACM, as ACM does by itself 45 days before expiry; gives the new serial when ACM shows it. */
async function renew(fleet: Fleet, CertificateArn: string): Promise<string> {
  const acm = new ACMClient(fleet.cloud.clientConfig(fleet.certificateAdmin, CENTRAL.region));
  const before = await serialOf(fleet, CertificateArn);
  await acm.send(new RenewCertificateCommand({ CertificateArn }));
  let now = before;
  await waitFor('ACM shows another serial', async () => {
    now = await serialOf(fleet, CertificateArn);
    return now !== before || `still ${before}`;
  });
  return now;
}

async function showAndCheck(
  fleet: Fleet,
  deployments: Deployment[],
  serial: string,
  other: ServingNode,
): Promise<void> {
  console.log();
  const wrong: string[] = [];
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
      wrong.push(`${serving.node.id} serves ${serves}, the inventory says ${says}`);
    }
  }
  console.log();
  for (const { DeploymentId, TargetAccount, Status, NotAfter } of deployments) {
    console.log(`Deployment ${DeploymentId} in ${TargetAccount}: ${Status}, expires ${NotAfter}`);
    if (Status !== 'INSTALLED') {
      wrong.push(`deployment ${DeploymentId} is ${Status}`);
    }
  }
  console.log();
  check('servers and inventory say the same', wrong.length === 0, wrong.join('; '));
}

tell('The local cloud starts: the services of AWS, on this machine only');
try {
  // Waits and retries of the cloud take a hundredth of their time: with less, the state machine asks more often how far an
  // installation is. The clock itself runs as it does everywhere.
  // Two rollouts at a time gain nothing by more than one environment of a function.
  const cloud = await startCloud({ timeScale: 0.01, environments: 1 });
  try {
    tell(`It is at ${cloud.endpoint}; both templates are deployed there`);
    const fleet = await deployFleet(cloud, {
      central: {
        parameters: {
          LookIntervalMinutes: LOOK_MINUTES,
          ...REQUESTS,
        },
      },
    });
    try {
      await demo(fleet);
    } finally {
      await Promise.all(fleet.nodes.map(({ server }) => server.stop()));
    }
  } finally {
    await cloud.stop();
  }
  tell('All is as promised. The local cloud is gone, with every key in it.');
} catch (error) {
  tell(error instanceof NotSo ? `NOT SO: ${error.message}` : String((error as Error).stack));
  process.exit(1);
}
