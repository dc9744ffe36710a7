import {
  ACMClient,
  AddTagsToCertificateCommand,
  DescribeCertificateCommand,
  type KeyAlgorithm,
  RequestCertificateCommand,
} from '@aws-sdk/client-acm';
import type { Cloud, CloudNode, Identity, NodeOptions, Stack } from 'local-cloud';
import { reservePort, servedSerial, type TlsServer } from 'local-cloud/node';
import {
  type CentralStack,
  createCertificateAdmin,
  type DeployOptions,
  deployCentral,
  deployDns,
  deployMember,
} from './cloud.ts';
import { startTlsServer } from './tls-server.ts';

/** The accounts and Regions of the demo, of `make local` and of the end-to-end tests. */
export const CENTRAL = { account: '111122223333', region: 'eu-west-1' };
export const MEMBER = { account: '444455556666', region: 'eu-central-1' };

/** Parameters that the central and the member stacks must agree on. */
const AGREED = { Prefix: 'acm-export', ExternalId: 'local-cloud-external-id' };
const TAG_KEY = 'acm-export';

/** A node with the TLS server that runs on it. */
export interface ServingNode {
  node: CloudNode;
  /** Under which name it gets its certificate. */
  certName: string;
  server: TlsServer;
  host: string;
  port: number;
  tag: string;
}

export interface Fleet {
  cloud: Cloud;
  central: CentralStack;
  members: Stack[];
  nodes: ServingNode[];
  /** How many nodes have an address, those that still start included. */
  addresses: number;
  /** Every node listens on this port, each on an address of its own. */
  port: number;
  /** May call every route of the API. */
  operator: Identity;
  certificateAdmin: Identity;
}

/** Deploys both templates: the central stack, and the member stack in the central and in another account. */
export async function deployFleet(
  cloud: Cloud,
  options: {
    central?: Partial<DeployOptions>;
    member?: Partial<DeployOptions>;
    /** Parameters of the member stack in the other account alone. */
    other?: Record<string, string>;
  } = {},
): Promise<Fleet> {
  // Another provider has the domain, until a hosted zone takes its place.
  cloud.publicDns.delegate('example.com', ['ns1.provider.net']);
  const central = await deployCentral(cloud, {
    ...CENTRAL,
    ...options.central,
    parameters: {
      ...AGREED,
      TargetAccounts: `${CENTRAL.account},${MEMBER.account}`,
      TargetTagKeys: TAG_KEY,
      NotificationEmail: 'operator@example.com',
      ...options.central?.parameters,
    },
  });
  // The operator has opened the link in the mail.
  cloud.services.sns.confirm(central.output('NotificationTopicArn'));
  const members = await Promise.all(
    [CENTRAL, MEMBER].map((place) =>
      deployMember(cloud, {
        ...place,
        ...options.member,
        parameters: {
          ...AGREED,
          CentralAccountId: central.account,
          CentralRegion: central.region,
          TargetTagKey1: TAG_KEY,
          ...options.member?.parameters,
          ...(place === MEMBER ? options.other : {}),
        },
      }),
    ),
  );
  const operator = cloud.createUser(central.account, 'operator', [
    {
      Version: '2012-10-17',
      Statement: { Effect: 'Allow', Action: 'execute-api:Invoke', Resource: '*' },
    },
  ]);
  const certificateAdmin = createCertificateAdmin(cloud, central.account);
  return {
    cloud,
    central,
    members,
    nodes: [],
    addresses: 0,
    port: await reservePort(),
    operator,
    certificateAdmin,
  };
}

/** Parameters of the central stack with which it may request certificates: the zone is in the other account. */
export const REQUESTS = {
  RequestRules: 'www=www.example.com,www=example.com,shop=shop.example.com,shop=.shop.example.com',
  DnsAccounts: MEMBER.account,
};

/** The other account has the hosted zone example.com, and dns-account.yaml. From then on ACM looks into public DNS. */
export async function addHostedZone({ cloud, central }: Fleet): Promise<void> {
  const zone = cloud.services.route53.createZone(MEMBER.account, 'example.com');
  cloud.publicDns.delegate('example.com', zone.nameServers);
  cloud.services.acm.validation = 'public DNS';
  await deployDns(cloud, {
    ...MEMBER,
    parameters: {
      ExternalId: AGREED.ExternalId,
      CentralAccountId: central.account,
      CentralRegion: central.region,
      HostedZoneArns: zone.arn,
    },
  });
}

/** Starts a node with a TLS server on it: Node's own, so that no result depends on what is installed here. */
export async function addNode(
  fleet: Fleet,
  place: { account: string; region: string },
  tag: string,
  options: NodeOptions & { certName: string },
): Promise<ServingNode> {
  const { certName, ...nodeOptions } = options;
  fleet.addresses += 1;
  const host = `127.0.0.${fleet.addresses + 1}`;
  const node = await fleet.cloud.createNode(place.account, place.region, {
    ...nodeOptions,
    tags: { [TAG_KEY]: tag },
    host,
  });
  const server = await startTlsServer('node', { root: node.spec.root, certName, host, port: fleet.port });
  const serving = { node, certName, server, host, port: fleet.port, tag: `${TAG_KEY}=${tag}` };
  fleet.nodes.push(serving);
  return serving;
}

/** What a node serves now: lower-case hex, or the reason why nothing could be read. */
export async function served(serving: ServingNode): Promise<string> {
  return servedSerial(serving).catch((error: Error) => error.message);
}

/** Requests an exportable certificate and waits for its issuance. */
export async function requestCertificate(
  fleet: Fleet,
  certName: string,
  domainNames: string[],
  keyAlgorithm: KeyAlgorithm = 'EC_prime256v1',
): Promise<string> {
  const acm = new ACMClient(fleet.cloud.clientConfig(fleet.certificateAdmin, CENTRAL.region));
  const [DomainName, ...SubjectAlternativeNames] = domainNames;
  const { CertificateArn = '' } = await acm.send(
    new RequestCertificateCommand({
      DomainName,
      ...(SubjectAlternativeNames.length > 0 ? { SubjectAlternativeNames } : {}),
      KeyAlgorithm: keyAlgorithm,
      ValidationMethod: 'DNS',
      Options: { Export: 'ENABLED' },
    }),
  );
  await acm.send(
    new AddTagsToCertificateCommand({ CertificateArn, Tags: [{ Key: 'CertName', Value: certName }] }),
  );
  for (;;) {
    const { Certificate } = await acm.send(new DescribeCertificateCommand({ CertificateArn }));
    if (Certificate?.Status === 'ISSUED') {
      return CertificateArn;
    }
    if (Certificate?.Status !== 'PENDING_VALIDATION') {
      throw new Error(`${CertificateArn} is ${Certificate?.Status} (${Certificate?.FailureReason})`);
    }
    await fleet.cloud.clock.sleep(1000);
  }
}

/** One call to the API as the operator. Throws with the answer when it is refused. */
export async function callApi(
  fleet: Fleet,
  method: string,
  path: string,
  body?: object,
): Promise<Record<string, unknown>> {
  const response = await fleet.cloud.fetchSigned(
    fleet.operator,
    CENTRAL.region,
    `${fleet.central.apiUrl}${path}`,
    { method, ...(body ? { body: JSON.stringify(body) } : {}) },
  );
  const answer = (await response.json()) as Record<string, unknown>;
  if (!response.ok) {
    throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  }
  return answer;
}
