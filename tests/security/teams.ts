import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Identity } from 'local-cloud';
import type { PolicyDocument } from 'local-cloud/iam';
import { CENTRAL } from '../../local/example-fleet.ts';
import { callApiAs } from './callers.ts';
import type { Scene } from './scene.ts';
import { type Answer, callAws } from './signed-calls.ts';

/** An example of docs/examples, with the id of the local API in place of the example's. */
export function examplePolicy(name: string, apiId = 'abcde12345'): PolicyDocument {
  const file = path.join(import.meta.dirname, '../../docs/examples', name);
  return JSON.parse(readFileSync(file, 'utf8').replaceAll('abcde12345', apiId)) as PolicyDocument;
}

/** Of the team `web`: may deploy as `web-…`, and request certificates of its own domain. */
export function teamIdentity({ cloud, flows }: Scene): Identity {
  const apiId = new URL(flows.site.central.apiUrl).pathname.split('/')[1];
  return cloud.createUser(CENTRAL.account, 'team-web', [
    examplePolicy('team-deployments.json', apiId),
    examplePolicy('team-certificates.json'),
  ]);
}

export interface Team {
  scene: Scene;
  identity: Identity;
  /** A certificate of the team, tagged `web-+`. */
  certificateArn: string;
}

const target = { TargetTagKey: 'team', TargetTagValue: 'web' };

/** What the team may do. */
export const teamCalls: [
  promise: string,
  method: string,
  rest: string,
  (team: Team) => object | undefined,
][] = [
  [
    'deploy its own certificate under its own name',
    'POST',
    '/certificates/web-shop/deployments',
    ({ certificateArn }) => ({ CertificateArn: certificateArn, ...target }),
  ],
  ['see where it is', 'GET', '/certificates/web-shop/deployments', () => undefined],
];

const payments = ({ scene }: Team) => ({ CertificateArn: scene.paymentsArn, ...target });
const paymentsArn = ({ scene }: Team) => ({ CertificateArn: scene.paymentsArn });
const own = ({ certificateArn }: Team) => ({ CertificateArn: certificateArn, ...target });
const nothing = () => undefined;

/** What the team tries, and how it must be answered. */
export const teamAttempts: [
  promise: string,
  status: number,
  method: string,
  rest: string | ((team: Team) => string),
  (team: Team) => object | undefined,
][] = [
  [
    'read where the certificate of another team is',
    403,
    'GET',
    '/certificates/payments/deployments',
    nothing,
  ],
  ['deploy under the name of another team', 403, 'POST', '/certificates/payments/deployments', payments],
  ['renew the certificate of another team', 403, 'POST', '/certificates/payments/renewals', paymentsArn],
  [
    'request a certificate under its own name, which costs money',
    403,
    'POST',
    '/certificates/web-shop',
    () => ({ DomainNames: ['web.example.com'] }),
  ],
  ['see a request for a certificate of its own name', 403, 'GET', '/certificates/web-shop', nothing],
  [
    'read one deployment of another team',
    403,
    'GET',
    ({ scene }) => `/certificates/web/deployments/${scene.flows.productionId}`,
    nothing,
  ],
  [
    'delete a deployment of another team',
    403,
    'DELETE',
    ({ scene }) => `/certificates/web/deployments/${scene.flows.productionId}`,
    nothing,
  ],
  [
    'roll out again for another team',
    403,
    'POST',
    ({ scene }) => `/certificates/web/deployments/${scene.flows.productionId}/rollouts`,
    nothing,
  ],
  ['list the whole fleet', 403, 'GET', '/deployments', nothing],
  ['list the certificates on servers that nobody registered', 403, 'GET', '/endpoints', nothing],
  ['freeze all rollouts', 403, 'POST', '/freeze', () => ({ Reason: 'mine' })],
  ['thaw all rollouts', 403, 'POST', '/thaw', nothing],
  ['see who froze all rollouts and why', 403, 'GET', '/freeze', nothing],
  [
    'freeze all rollouts under its own name',
    403,
    'POST',
    '/certificates/web-shop/freeze',
    () => ({ Reason: 'mine' }),
  ],
  [
    'freeze all rollouts as one of its deployments',
    403,
    'POST',
    '/certificates/web-shop/deployments/../../../freeze',
    () => ({ Reason: 'mine' }),
  ],
  ['use a name that differs in case', 403, 'GET', '/certificates/WEB-shop/deployments', nothing],
  ['use a name that only contains its own', 403, 'GET', '/certificates/my-web-shop/deployments', nothing],
  [
    'reach a deployment of another team under its own name',
    404,
    'GET',
    ({ scene }) => `/certificates/web-shop/deployments/${scene.flows.productionId}`,
    nothing,
  ],
  [
    'delete a deployment of another team under its own name',
    404,
    'DELETE',
    ({ scene }) => `/certificates/web-shop/deployments/${scene.flows.productionId}`,
    nothing,
  ],
  [
    'renew the certificate of another team under its own name',
    404,
    'POST',
    '/certificates/web-shop/renewals',
    paymentsArn,
  ],
  [
    'deploy the certificate of another team under its own name',
    403,
    'POST',
    '/certificates/web-shop/deployments',
    payments,
  ],
  [
    'name another CertName in the body than in the path',
    400,
    'POST',
    '/certificates/web-shop/deployments',
    (team) => ({ ...own(team), CertName: 'payments' }),
  ],
  [
    'deploy to an account that is no target',
    403,
    'POST',
    '/certificates/web-shop/deployments',
    (team) => ({ ...own(team), TargetAccount: '999988887777' }),
  ],
  [
    'deploy to a tag key that is not of this system',
    403,
    'POST',
    '/certificates/web-shop/deployments',
    (team) => ({ ...own(team), TargetTagKey: 'Name' }),
  ],
  [
    'deploy to a tag key that differs in case only',
    403,
    'POST',
    '/certificates/web-shop/deployments',
    (team) => ({ ...own(team), TargetTagKey: 'Env' }),
  ],
  [
    'open a bundle to a role that the stack does not name',
    403,
    'POST',
    '/certificates/web-shop/deployments',
    (team) => ({
      ...own(team),
      Delivery: 'secret',
      ReaderRoleArns: [`arn:aws:iam::${CENTRAL.account}:role/administrator`],
    }),
  ],
  [
    'open a bundle to a role of another account',
    403,
    'POST',
    '/certificates/web-shop/deployments',
    (team) => ({
      ...own(team),
      Delivery: 'secret',
      ReaderRoleArns: ['arn:aws:iam::999988887777:role/reader-one'],
    }),
  ],
  ['climb out of its own path', 403, 'GET', '/certificates/web-shop/../payments/deployments', nothing],
  [
    'climb out of its own path with encoded slashes',
    400,
    'GET',
    '/certificates/web-shop%2F..%2Fpayments/deployments',
    nothing,
  ],
  ['use a wildcard as its name', 400, 'GET', '/certificates/web-%2A/deployments', nothing],
];

export function tryApi(
  { scene, identity }: Team,
  method: string,
  rest: string,
  body?: object,
): Promise<Answer> {
  return callApiAs(scene, identity, method, rest, body);
}

const tags = (values: Record<string, string>) =>
  Object.entries(values).map(([Key, Value]) => ({ Key, Value }));

/** A request for a certificate as the team's policy wants it. */
export const properRequest = {
  DomainName: 'shop.web.example.com',
  KeyAlgorithm: 'EC_prime256v1',
  ValidationMethod: 'DNS',
  Options: { Export: 'ENABLED' },
  Tags: tags({ CertName: 'web-+', Team: 'web' }),
};

/** Calls to ACM that the team's policy must refuse. */
export const certificateAttempts: [
  promise: string,
  operation: string,
  input: (team: Team) => Record<string, unknown>,
][] = [
  ...(
    [
      ['a wildcard', { DomainName: '*.web.example.com' }],
      ['a wildcard beside a proper name', { SubjectAlternativeNames: ['*.web.example.com'] }],
      ['a name of another domain', { DomainName: 'pay.example.com' }],
      ['a name of another domain beside its own', { SubjectAlternativeNames: ['pay.example.com'] }],
      ['a name that only ends like its own domain', { DomainName: 'evilweb.example.com' }],
      ['another key algorithm', { KeyAlgorithm: 'RSA_2048' }],
      ['a key algorithm that is left to ACM', { KeyAlgorithm: undefined }],
      ['validation by e-mail', { ValidationMethod: 'EMAIL' }],
      ['no tags', { Tags: undefined }],
      ['the CertName of another team', { Tags: tags({ CertName: 'payments', Team: 'web' }) }],
      ['every name', { Tags: tags({ CertName: '+', Team: 'web' }) }],
      ['the mark of another team', { Tags: tags({ CertName: 'web-+', Team: 'payments' }) }],
      ['more tags', { Tags: tags({ CertName: 'web-+', Team: 'web', env: 'prod' }) }],
    ] as [string, object][]
  ).map(([what, changes]): (typeof certificateAttempts)[number] => [
    `request a certificate with ${what}`,
    'RequestCertificate',
    () => ({ ...properRequest, ...changes }),
  ]),
  [
    'put its name on the certificate of another team',
    'AddTagsToCertificate',
    ({ scene }) => ({ CertificateArn: scene.paymentsArn, Tags: tags({ CertName: 'web-shop' }) }),
  ],
  [
    'put its mark on the certificate of another team',
    'AddTagsToCertificate',
    ({ scene }) => ({ CertificateArn: scene.untaggedArn, Tags: tags({ Team: 'web' }) }),
  ],
  [
    'put its name and its mark on the certificate of another team, as on one that it requests',
    'AddTagsToCertificate',
    ({ scene }) => ({ CertificateArn: scene.paymentsArn, Tags: tags({ CertName: 'web-+', Team: 'web' }) }),
  ],
  ...(
    [
      ['that has no tags, and more', { CertName: 'web-+', Team: 'web', env: 'prod' }],
      ['that has no tags, for another name', { CertName: 'payments', Team: 'web' }],
      ['that has no tags, with the mark of another team', { CertName: 'web-+', Team: 'payments' }],
      ['that has no tags, without its mark', { CertName: 'web-+' }],
    ] as [string, Record<string, string>][]
  ).map(([what, given]): (typeof certificateAttempts)[number] => [
    `put its name on a certificate ${what}`,
    'AddTagsToCertificate',
    ({ scene }) => ({ CertificateArn: scene.untaggedArn, Tags: tags(given) }),
  ]),
  [
    'put its name and its mark on a certificate of another Region',
    'AddTagsToCertificate',
    ({ scene }) => ({
      CertificateArn: scene.untaggedArn.replace(`:${CENTRAL.region}:`, ':us-east-1:'),
      Tags: tags({ CertName: 'web-+', Team: 'web' }),
    }),
  ],
  [
    'put the name of another team on its own certificate',
    'AddTagsToCertificate',
    ({ certificateArn }) => ({ CertificateArn: certificateArn, Tags: tags({ CertName: 'payments' }) }),
  ],
  [
    'export its certificate by hand',
    'ExportCertificate',
    ({ certificateArn }) => ({ CertificateArn: certificateArn, Passphrase: 'aW50cnVkZXI=' }),
  ],
  [
    'read the certificate of another team',
    'DescribeCertificate',
    ({ scene }) => ({ CertificateArn: scene.paymentsArn }),
  ],
];

export function callAcm(team: Team, operation: string, input: Record<string, unknown>): Promise<Answer> {
  return callAws(team.scene.cloud, team.identity, CENTRAL.region, `CertificateManager.${operation}`, input);
}
