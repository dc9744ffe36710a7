import { expect, test } from '@jest/globals';
import type { PolicyDocument } from 'local-cloud';
import { CENTRAL, MEMBER, requestCertificate } from '../../local/example-fleet.ts';
import { plainNode, testFleet } from '../end-to-end/test-fleet.ts';
import { command, quickNode, type Surroundings } from './command-line.ts';

const fleet = testFleet({ composed: true });
const STACK = { ACM_EXPORT_STACK: 'acm-export-central' };

/** What the doctor needs, as docs/command.md has it. */
const ACTIONS = [
  'acm:DescribeCertificate',
  'acm:ListTagsForCertificate',
  'cloudformation:DescribeStacks',
  'ec2:DescribeInstances',
  'execute-api:Invoke',
  'iam:GetInstanceProfile',
  'iam:GetRole',
  'iam:ListAttachedRolePolicies',
  'sns:ListSubscriptionsByTopic',
  'ssm:DescribeInstanceInformation',
  'ssm:GetDocument',
];
const policyOf = (actions: string[]): PolicyDocument => ({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: actions, Resource: '*' }],
});
let callers = 0;
function caller(actions = ACTIONS) {
  callers += 1;
  return fleet().cloud.createUser(CENTRAL.account, `doctor-${callers}`, [policyOf(actions)]);
}

const doctor = (words: string[], around: Surroundings = {}) =>
  command(fleet(), ['doctor', ...words], { identity: caller(), env: STACK, ...around });

interface Found {
  Result: string;
  What: string;
  Where: string;
  Since?: string;
  Do?: string;
}
async function found(words: string[], around: Surroundings = {}) {
  const ran = await doctor([...words, '--output', 'json'], around);
  const checks: Found[] = ran.json().Checks;
  const of = (result: string) => checks.filter(({ Result }) => Result === result);
  return { code: ran.code, wrong: of('wrong'), unknown: of('unknown'), ok: of('ok') };
}
const before = (arn: string, tag: string) => [
  '--certificate-arn',
  arn,
  '--tag',
  `acm-export=${tag}`,
  '--cert-name',
  tag,
];
const topic = () => fleet().central.output('NotificationTopicArn');

test('without a confirmed subscription the doctor says that messages reach no one', async () => {
  const { sns } = fleet().cloud.services;
  sns.unsubscribe(topic());
  sns.subscribe(topic(), 'email', 'operator@example.com');
  const arn = await requestCertificate(fleet(), 'told', ['told.example.com']);
  await quickNode(fleet().cloud, 'told');
  fleet().cloud.settle();
  const { code, wrong } = await found(before(arn, 'told'));
  expect(code).toBe(1);
  expect(wrong).toEqual([
    expect.objectContaining({ What: expect.stringContaining('Nobody has confirmed'), Where: topic() }),
  ]);
  sns.confirm(topic());
});

test('where all is fine it says what it saw and exits with 0, before and after something is registered, and changes nothing', async () => {
  const arn = await requestCertificate(fleet(), 'fine', ['fine.example.com']);
  const node = await plainNode(fleet(), 'fine', { kind: 'hybrid' });
  await quickNode(fleet().cloud, 'fine');
  fleet().cloud.settle();
  fleet().cloud.record.clear();
  const { code, wrong, unknown, ok } = await found(before(arn, 'fine'));
  expect([code, wrong, unknown]).toEqual([0, [], []]);
  expect(ok.map(({ What }) => What)).toEqual(
    expect.arrayContaining([
      'The certificate is issued and can be exported.',
      'Its tag CertName allows the name fine.',
      'People are told of failures.',
      'The member stack is there.',
      'The document acm-export-install-on-node is of this edition.',
      'Systems Manager reaches the server.',
      'It carries the tag acm-export=fine.',
      `It has the policy acm-export-read-bundle-${CENTRAL.region}.`,
    ]),
  );
  expect(ok.map(({ Where }) => Where)).toContain(node.id);
  // Of the calls of the doctor, each one reads.
  const calls = fleet().cloud.record.calls.filter(({ principalArn }) => principalArn.includes('/doctor-'));
  expect(calls.length).toBeGreaterThan(8);
  for (const { operation } of calls) expect(operation).toMatch(/\.(Describe|Get|List)\w+$/);
});

test('each fault is found, with what, where, since when and what to do', async () => {
  const { cloud } = fleet();
  const arn = await requestCertificate(fleet(), 'other', ['faults.example.com']);
  const tag = { 'acm-export': 'faults' };
  const untagged = await plainNode(fleet(), 'faults', { roleTags: {} });
  const wrongTag = await plainNode(fleet(), 'faults', { roleTags: { 'acm-export': 'else' } });
  const noPolicy = await plainNode(fleet(), 'faults', { managedPolicyArns: [] });
  const offline = await plainNode(fleet(), 'faults', { online: false });
  const old = await plainNode(fleet(), 'faults', { agentVersion: '3.2.0.0' });
  cloud.settle();
  // Its agent has not registered it: Systems Manager lists new servers late.
  const unmanaged = await plainNode(fleet(), 'faults', { tags: tag });
  const { code, wrong } = await found(before(arn, 'faults'));
  expect(code).toBe(1);
  const ofNode = (id: string) => wrong.filter(({ Where }) => Where.endsWith(id)).map(({ What }) => What);
  expect(ofNode(untagged.id)).toEqual([expect.stringContaining('The server is tagged and its role is not')]);
  expect(ofNode(wrongTag.id)).toEqual([
    expect.stringContaining('Its tag acm-export is else, and that of the server faults'),
  ]);
  expect(ofNode(noPolicy.id)).toEqual([
    expect.stringContaining('It lacks the policy acm-export-read-bundle-'),
  ]);
  expect(ofNode(offline.id)).toEqual(['The SSM agent has not answered.']);
  expect(ofNode(old.id)).toEqual(['SSM agent 3.2.0.0 is older than 3.3.2746.0: update it.']);
  expect(ofNode(unmanaged.id)).toEqual([expect.stringContaining('Systems Manager does not know it')]);
  expect(wrong.find(({ Where }) => Where === arn)).toMatchObject({
    What: 'Its tag CertName is other: it may not be delivered as faults.',
    Do: expect.stringContaining('aws acm add-tags-to-certificate'),
  });
  expect(wrong.find(({ Where }) => Where === offline.id)?.Since).toMatch(/^\d{4}-/);
  expect(wrong.every(({ Do }) => Do)).toBe(true);
  const text = await doctor(before(arn, 'faults'), { columns: 100, env: { ...STACK, NO_COLOR: '1' } });
  expect(text.out).toMatch(
    /WRONG {4}The SSM agent has not answered\.\n +Where: i-\w+\n +Since: .*\n +Do: {4}Start the server/,
  );
});

test('a certificate that cannot be exported, one that is not issued, and one that ACM does not know are told apart', async () => {
  const { acm } = fleet().cloud.services;
  const add = (id: string, more: object) =>
    acm.add(CENTRAL.account, CENTRAL.region, {
      id,
      names: ['x.example.com'],
      keyAlgorithm: 'RSA_2048',
      tags: { CertName: '+' },
      ...more,
    });
  const notExportable = await add('11111111-0000-4000-8000-000000000001', { exportable: false });
  const pending = await add('11111111-0000-4000-8000-000000000002', { status: 'PENDING_VALIDATION' });
  const says = async (arn: string) =>
    (await found(before(arn, 'fine'))).wrong.filter(({ Where }) => Where === arn).map(({ What }) => What);
  expect(await says(notExportable)).toEqual([expect.stringContaining('The certificate is not exportable')]);
  expect(await says(pending)).toEqual(['The certificate is not issued: its status is PENDING_VALIDATION.']);
  expect(await says(pending.replace(/2$/, '3'))).toEqual(['ACM does not know the certificate.']);
});

test('an account without the member stack, and a document of another edition, are told', async () => {
  const arn = await requestCertificate(fleet(), 'fine', ['again.example.com']);
  const elsewhere = await found([...before(arn, 'fine'), '--target-region', 'eu-north-1']);
  expect(elsewhere.wrong.map(({ What }) => What)).toContain(
    'The member stack is not there: it has no role acm-export-rollout-eu-north-1.',
  );
  const { ssmDocuments } = fleet().cloud.services;
  const name = 'acm-export-look-at-node';
  const document = ssmDocuments.find(CENTRAL.account, CENTRAL.region, name);
  const content = JSON.parse(JSON.stringify(document?.content));
  content.mainSteps[0].inputs.runCommand = ['exit 0'];
  ssmDocuments.create(CENTRAL.account, CENTRAL.region, { name, type: 'Command', content });
  const { wrong } = await found(before(arn, 'fine'));
  expect(wrong.map(({ What }) => What)).toEqual([
    `The document ${name} is of another edition than this command.`,
  ]);
  ssmDocuments.create(CENTRAL.account, CENTRAL.region, {
    name,
    type: 'Command',
    content: document?.content ?? {},
  });
});

test.each(ACTIONS.filter((action) => action !== 'execute-api:Invoke'))(
  'without the permission %s the check is unknown, says so, and the doctor does not exit with 0',
  async (missing) => {
    const arn = await requestCertificate(fleet(), 'fine', ['grants.example.com']);
    const identity = caller(ACTIONS.filter((action) => action !== missing));
    const { code, wrong, unknown } = await found(before(arn, 'fine'), { identity });
    expect([code, wrong]).toEqual([4, []]);
    expect(unknown.map(({ Do }) => Do).join()).toContain(missing);
  },
);

test('without credentials for the account of the servers nothing there passes', async () => {
  const arn = await requestCertificate(fleet(), 'fine', ['member.example.com']);
  const { code, unknown } = await found([...before(arn, 'fine'), '--target-account', MEMBER.account]);
  expect(code).toBe(4);
  expect(unknown).toEqual([
    expect.objectContaining({
      What: expect.stringContaining(`these credentials are of account ${CENTRAL.account}`),
      Do: 'Name a profile of that account: --target-profile.',
    }),
  ]);
});

test('of what is registered it says how rollouts end and what looks found', async () => {
  const arn = await requestCertificate(fleet(), 'sick', ['sick.example.com']);
  const node = await quickNode(fleet().cloud, 'sick', { behaviour: 'failed' });
  fleet().cloud.settle();
  await command(
    fleet(),
    `register sick --certificate-arn ${arn} --tag acm-export=sick --verify-port 443`.split(' '),
  );
  const { code, wrong } = await found(['sick']);
  expect(code).toBe(1);
  expect(wrong).toEqual([
    expect.objectContaining({
      What: expect.stringContaining(`${node.NodeId} is broken`),
      Where: 'sick/acm-export=sick',
      Since: expect.stringMatching(/^\d{4}-/),
    }),
  ]);
  expect((await doctor(['--tag', 'a=b'])).code).toBe(2);
});

test('a server that the deployment leaves out is no fault, whatever is wrong there', async () => {
  const arn = await requestCertificate(fleet(), 'left-out', ['left-out.example.com']);
  await quickNode(fleet().cloud, 'left-out');
  const node = await plainNode(fleet(), 'left-out', { roleTags: {}, agentVersion: '3.2.0.0' });
  fleet().cloud.settle();
  const register = `register left-out --certificate-arn ${arn} --tag acm-export=left-out --verify-port 443`;
  await command(fleet(), `${register} --exclude-node-ids ${node.id}`.split(' '));
  const { wrong, ok } = await found(['left-out']);
  expect(wrong).toEqual([]);
  expect(ok.filter(({ Where }) => Where === node.id)).toEqual([
    expect.objectContaining({ What: 'The deployment leaves the server out (ExcludeNodeIds).' }),
  ]);
});
