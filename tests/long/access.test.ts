import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Cloud, CloudNode, Identity, RecordedCall } from 'local-cloud';
import { evaluate, type PolicyDocument } from 'local-cloud/iam';
import { startCloud } from '../../local/cloud.ts';
import { CENTRAL, callApi, MEMBER, requestCertificate } from '../../local/example-fleet.ts';
import { rowsOf, section } from '../docs/documents.ts';
import { attacks, serviceAttacks } from '../security/attacks.ts';
import { Intruders, installation, layBait, PROBES } from '../security/blast-radius.ts';
import { callApiAs, refusedCallers } from '../security/callers.ts';
import {
  type Deployment,
  deploySite,
  Flows,
  functionRole,
  type Target,
  withoutGrant,
} from '../security/flows.ts';
import {
  allowedUnder,
  type Change,
  changesOf,
  concerns,
  type Evidence,
  evidenceOf,
  justified,
  policiesOf,
  unusedInSessions,
} from '../security/reductions.ts';
import {
  AUTOMATION_ROLE,
  allow,
  assumeRole,
  EXTERNAL_ID,
  foreignAutomation,
  memberRole,
  ROLLOUT_ROLE,
  type Scene,
  setScene,
  type Visitor,
  visitors,
  WRITER_ROLE,
} from '../security/scene.ts';
import { callAws } from '../security/signed-calls.ts';
import {
  callAcm,
  certificateAttempts,
  examplePolicy,
  properRequest,
  type Team,
  teamAttempts,
  teamCalls,
  teamIdentity,
  tryApi,
} from '../security/teams.ts';

let cloud: Cloud;
let flows: Flows;
let scene: Scene;
/** What the flows asked for. What comes after it in the record are attacks. */
let needs: RecordedCall[];

beforeAll(async () => {
  cloud = await startCloud({ timeScale: 0.005, quotas: false });
  // Flows reach the other account, too: they need no grant of the first edition there.
  flows = new Flows(await deploySite(cloud, { other: { KeepFirstEditionGrants: 'false' } }));
  await flows.run();
  needs = [...cloud.record.calls];
  scene = await setScene(flows);
});
afterAll(() => cloud.stop());

const DENIED = /^AccessDenied(Exception)?$/;
const session = { name: 'intruder', seconds: 900, source: 'intruder' };

describe('everything else is denied', () => {
  test.each(attacks.map((attack) => [attack[0], attack] as const))('%s', async (_promise, attack) => {
    const [, by, operation, input, region] = attack;
    const identity = by(scene);
    const home = identity.account === CENTRAL.account ? CENTRAL.region : 'eu-central-1';
    const body = typeof input === 'function' ? input(scene) : input;
    const answer = await callAws(cloud, identity, region ?? home, operation, body);
    expect([answer.error, answer.body]).toEqual([
      expect.stringMatching(DENIED),
      expect.stringMatching(/is not authorized to perform/),
    ]);
  });

  test.each(serviceAttacks)('%s', (_promise, service, roleArn, context) => {
    expect(() => cloud.services.identities.assumeAsService(service, roleArn, context, session)).toThrow(
      /is not authorized to perform: sts:AssumeRole/,
    );
  });

  test('a foreign rule reaches neither the functions nor the queue of this stack', async () => {
    const { events } = cloud.services;
    const here = `${CENTRAL.region}:${CENTRAL.account}`;
    const functions = ['handle-renewal', 'rollout-ended', 'report-certificate-notice'].map(
      (name) => `arn:aws:lambda:${here}:function:acm-export-${name}`,
    );
    const queue = `arn:aws:sqs:${here}:acm-export-undelivered-events`;
    events.putRule({
      ...CENTRAL,
      arn: `arn:aws:events:${here}:rule/payments`,
      busName: 'default',
      pattern: { source: ['payments'] },
      targets: [...functions, queue].map((Arn, index) => ({ Id: String(index), Arn })),
      enabled: true,
    });
    const before = cloud.record.calls.length;
    events.publish({ ...CENTRAL, source: 'payments', 'detail-type': 'Paid', resources: [], detail: {} });
    await cloud.idle();
    expect(cloud.record.calls.slice(before).map(({ operation, error }) => [operation, error])).toEqual([
      ['lambda.Invoke', 'AccessDeniedException'],
      ['lambda.Invoke', 'AccessDeniedException'],
      ['lambda.Invoke', 'AccessDeniedException'],
      ['AmazonSQS.SendMessage', 'AccessDeniedException'],
    ]);
  });

  test('a foreign API does not reach the function behind the API', async () => {
    const functionArn = `arn:aws:lambda:${CENTRAL.region}:${CENTRAL.account}:function:acm-export-deployments-api`;
    const routes = [{ method: 'GET', path: '/deployments', functionArn }];
    cloud.services.apiGateway.createApi({ id: 'payments01', ...CENTRAL, stage: 'v1', routes });
    const url = `${cloud.endpoint}/payments01/v1/deployments`;
    const answer = await cloud.fetchSigned(flows.site.administrator, CENTRAL.region, url);
    expect(answer.status).toBe(500);
    expect(cloud.record.callsOf('lambda.Invoke').at(-1)?.error).toBe('AccessDeniedException');
  });

  test('an install document that was altered to act as another role is not started', async () => {
    const { ssmDocuments } = cloud.services;
    const document = { name: 'acm-export-install-on-fleet', type: 'Automation' as const };
    const content = ssmDocuments.find(CENTRAL.account, CENTRAL.region, document.name)?.content as object;
    const assumeRole = `arn:aws:iam::${CENTRAL.account}:role/administrator`;
    const put = (changed: object) =>
      ssmDocuments.create(CENTRAL.account, CENTRAL.region, { ...document, content: changed });
    put({ ...content, assumeRole });
    const input = { DocumentName: document.name };
    const start = 'AmazonSSM.StartAutomationExecution';
    const answer = await callAws(cloud, scene.taken['start-installation'], CENTRAL.region, start, input);
    put(content);
    expect(answer.body).toMatch(/not authorized to perform: iam:PassRole on resource: .*role\/administrator/);
  });

  test('the rollout role passes the Automation role to no other service', () => {
    // No API that the local cloud knows passes a role to another service: the decision alone.
    expect(evaluate(passedElsewhere().principal, passedElsewhere().request).allowed).toBe(false);
  });

  test('an execution that a person starts by hand changes nothing but what the record says', async () => {
    const held = flows.holdBeforeNodes();
    const deployment = await flows.deployment(await flows.post(FRESH('smuggled')));
    const exported = () => cloud.record.callsOf('ExportCertificate').map(({ input }) => input);
    const before = exported().length;
    const input = JSON.stringify({
      DeploymentId: deployment.DeploymentId,
      RolloutNumber: deployment.RolloutNumber,
      CertName: 'payments',
      CertificateArn: scene.paymentsArn,
      Serial: 'ab',
      Cause: 'REQUEST',
      CorrelationId: 'intruder',
      StartDelaySeconds: 0,
    });
    const { stateMachineArn } = flows.site.central;
    const start = { stateMachineArn, name: 'intruder', input };
    await callAws(cloud, flows.site.administrator, CENTRAL.region, 'AWSStepFunctions.StartExecution', start);
    held.remove();
    await cloud.idle();
    expect(exported().slice(before)).not.toContainEqual(
      expect.objectContaining({ CertificateArn: scene.paymentsArn }),
    );
  });
});

/** A target without nodes, and without a bundle yet. */
const FRESH = (TargetTagValue: string): Target => ({
  TargetAccount: CENTRAL.account,
  TargetRegion: CENTRAL.region,
  TargetTagKey: 'team',
  TargetTagValue,
});

/** The rollout role hands the Automation role to Lambda. */
const passedElsewhere = (): Evidence => {
  const call = cloud.record.calls.find(
    ({ principal }) => principal.arn === ROLLOUT_ROLE && !principal.sessionPolicy,
  ) as RecordedCall;
  return {
    principal: call.principal,
    request: {
      action: 'iam:PassRole',
      resource: AUTOMATION_ROLE,
      context: { 'iam:PassedToService': 'lambda.amazonaws.com' },
      resourceAccount: CENTRAL.account,
    },
    allowed: false,
  };
};

describe('callers of the API', () => {
  test.each(refusedCallers)('%s', async (_promise, call) => {
    const before = cloud.record.callsOf('lambda.Invoke').length;
    const { status } = await call(scene);
    expect(status).toBe(403);
    expect(cloud.record.callsOf('lambda.Invoke')).toHaveLength(before);
  });

  const routeArn = (
    route: string,
    change: Partial<Record<'region' | 'account' | 'api' | 'stage', string>> = {},
  ) => {
    const [, id = '', name = ''] = new URL(flows.site.central.apiUrl).pathname.split('/');
    const { region = CENTRAL.region, account = CENTRAL.account, api = id, stage = name } = change;
    return `arn:aws:execute-api:${region}:${account}:${api}/${stage}/${route.replace(' ', '')}`;
  };
  let callers = 0;
  const callerOf = (...routes: string[]) => {
    callers += 1;
    return cloud.createUser(CENTRAL.account, `caller-${callers}`, [allow('execute-api:Invoke', routes)]);
  };
  const statusOf = async (caller: Identity, route: string) => {
    const [method = '', path = ''] = route.split(' ');
    const body = route === 'POST /freeze' ? { Reason: 'a test' } : undefined;
    return (await callApiAs(scene, caller, method, path, body)).status;
  };

  test.each([
    ['GET /endpoints', 'GET /deployments'],
    ['GET /deployments', 'GET /endpoints'],
    ['GET /freeze', 'POST /freeze'],
    ['POST /freeze', 'GET /freeze'],
    ['POST /freeze', 'POST /thaw'],
    ['POST /thaw', 'POST /freeze'],
    ['POST /thaw', 'GET /freeze'],
  ])('who may %s, and nothing else, does not get %s', async (route, other) => {
    const caller = callerOf(routeArn(route));
    expect([await statusOf(caller, route), await statusOf(caller, other)]).toEqual([200, 403]);
    expect(await statusOf(callerOf(routeArn('POST /thaw')), 'POST /thaw')).toBe(200);
  });

  test.each<[string, () => string[]]>([
    ['of another Region', () => [routeArn('POST /freeze', { region: 'eu-central-1' })]],
    ['of another account', () => [routeArn('POST /freeze', { account: '444455556666' })]],
    ['of another API', () => [routeArn('POST /freeze', { api: 'payments01' })]],
    ['of another stage', () => [routeArn('POST /freeze', { stage: 'v2' })]],
    ['of every path below it', () => [routeArn('POST /freeze/*')]],
    ['of a path that only begins like it', () => [routeArn('POST /freezer'), routeArn('POST /free')]],
    ['of every name and every deployment', () => [routeArn('* /certificates/*')]],
  ])('who may freeze by the route %s freezes nothing here', async (_, routes) => {
    expect(await statusOf(callerOf(...routes()), 'POST /freeze')).toBe(403);
    expect((await callApi(flows.site, 'GET', '/freeze')).Frozen).toBe(false);
  });
});

describe('a function that was taken over', () => {
  // docs/security.md says what it may; the calls say whether that is so.
  const [[, ...columns] = [], ...rows] = rowsOf(section('docs/security.md', 'When a function is taken over'));
  const names = columns as (keyof Scene['functions'])[];
  const others = ['handle-renewal', 'rollout-ended', 'report-certificate-notice'] as const;
  let here: Intruders;
  let there: Intruders;

  beforeAll(async () => {
    here = new Intruders(scene, CENTRAL, await layBait(flows, CENTRAL));
    there = new Intruders(scene, MEMBER, await layBait(flows, MEMBER));
  });

  test('the table speaks of every function with work in target accounts, and of every call', () => {
    expect(names.toSorted()).toEqual([...visitors].sort());
    expect(rows.map(([what]) => what)).toEqual(Object.keys(PROBES));
    expect(new Set(rows.flatMap(([, ...cells]) => cells))).toEqual(new Set(['yes', '–', 'first edition']));
  });

  test.each(rows.map(([what, ...cells]) => [what as string, cells] as const))(
    'may do in a target account what is said of it: %s',
    async (what, cells) => {
      const may = async (intruders: Intruders, of: readonly (keyof Scene['functions'])[]) => {
        const found: boolean[] = [];
        for (const name of of) found.push(await intruders.may(name, what));
        return found;
      };
      // The member stack here keeps the grants of the first edition, the one there does not.
      expect(await may(here, names)).toEqual(cells.map((cell) => cell !== '–'));
      expect(await may(there, names)).toEqual(cells.map((cell) => cell === 'yes'));
      expect([...(await may(here, others)), ...(await may(there, others))]).not.toContain(true);
    },
  );

  const callAs = async (name: Visitor, operation: string, input: object) => {
    const answer = await callAws(cloud, scene.taken[name], CENTRAL.region, operation, { ...input });
    expect(answer.error).toBe('');
    return answer.body === '' ? {} : JSON.parse(answer.body);
  };

  test('reconcile sees what a server holds that nobody tagged, and nothing of a key', async () => {
    const InstanceId = scene.untaggedNode.id;
    const look = { DocumentName: 'acm-export-look-at-node', InstanceIds: [InstanceId] };
    const { Command } = await callAs('reconcile', 'AmazonSSM.SendCommand', look);
    await cloud.idle();
    const input = { CommandId: Command.CommandId, InstanceId };
    const { StandardOutputContent } = await callAs('reconcile', 'AmazonSSM.GetCommandInvocation', input);
    expect(StandardOutputContent).toMatch(/^end\t0\t/m);
  });

  test('check-installation reads what others sent and the first 2,500 characters of what it printed, reconcile all of it', async () => {
    const { commandId: CommandId, nodeId: InstanceId } = await layReport();
    const seen = { Parameters: { Word: ['of payments'] } };
    const { Commands } = await callAs('check-installation', 'AmazonSSM.ListCommands', { CommandId });
    expect(Commands).toMatchObject([seen]);
    const input = { CommandId, Details: true };
    const { CommandInvocations } = await callAs(
      'check-installation',
      'AmazonSSM.ListCommandInvocations',
      input,
    );
    expect(CommandInvocations[0].CommandPlugins[0].Output).toMatch(/^0{2000}/);
    const whole = await callAs('reconcile', 'AmazonSSM.GetCommandInvocation', { CommandId, InstanceId });
    expect(whole.StandardOutputContent).toHaveLength(3000);
  });

  test('a session of check-installation lists commands of others, too, and does not read all that they printed', async () => {
    const { commandId: CommandId, nodeId: InstanceId } = await layReport();
    const narrowed = (operation: string, input: object) =>
      callAws(cloud, scene.sessions['check-installation'], CENTRAL.region, `AmazonSSM.${operation}`, {
        ...input,
      });
    const { body } = await narrowed('ListCommands', { CommandId });
    expect(JSON.parse(body).Commands).toHaveLength(1);
    expect((await narrowed('GetCommandInvocation', { CommandId, InstanceId })).error).toMatch(DENIED);
  });

  test('export-certificate cannot read a bundle, but opens it to a role that then reads it', async () => {
    const SecretId = scene.unguarded;
    const reader = cloud.services.identities.createRole(CENTRAL.account, {
      name: 'accomplice',
      trustPolicy: { Version: '2012-10-17', Statement: [] },
      isKnownAtOnce: true,
    });
    const read = () => {
      const identity = cloud.services.identities.openSession(reader, session);
      return callAws(cloud, identity, CENTRAL.region, 'secretsmanager.GetSecretValue', { SecretId });
    };
    expect((await read()).error).toMatch(DENIED);
    const Action = 'secretsmanager:GetSecretValue';
    const Statement = [{ Effect: 'Allow', Principal: { AWS: reader.arn }, Action, Resource: '*' }];
    const ResourcePolicy = JSON.stringify({ Version: '2012-10-17', Statement });
    const open = { SecretId, BlockPublicPolicy: true, ResourcePolicy };
    await callAs('export-certificate', 'secretsmanager.PutResourcePolicy', open);
    expect((await read()).error).toBe('');
    const { secretsManager } = cloud.services;
    delete secretsManager.secrets(CENTRAL.account, CENTRAL.region).find(({ name }) => name === SecretId)
      ?.policy;
  });

  test('only what installs stops an Automation of others, and has to mark it first', async () => {
    const node = await cloud.createNode(MEMBER.account, MEMBER.region, { tags: { payments: 'yes' } });
    const AutomationExecutionId = await foreignAutomation(flows, MEMBER);
    const call = async (name: Visitor, operation: string, input: Record<string, unknown>) => {
      const taken = await assumeRole(cloud, scene.functions[name], {
        RoleArn: memberRole(MEMBER, 'rollout'),
        ExternalId: EXTERNAL_ID,
        RoleSessionName: `${name}-intruder`,
      });
      return (await callAws(cloud, taken, MEMBER.region, `AmazonSSM.${operation}`, input)).error;
    };
    const stop = { AutomationExecutionId, Type: 'Cancel' };
    const status = () =>
      cloud.services.automation
        .executions(MEMBER.account, MEMBER.region)
        .find(({ id }) => id === AutomationExecutionId)?.status;
    const denied = ['deployments-api', 'start-installation', 'check-installation', 'reconcile'] as const;
    for (const name of denied) {
      expect([name, await call(name, 'StopAutomationExecution', stop)]).toEqual([
        name,
        expect.stringMatching(DENIED),
      ]);
    }
    expect(status()).toBe('InProgress');
    const Tags = [{ Key: 'acm-export:deployment-id', Value: '0' }];
    const mark = { ResourceType: 'Automation', ResourceId: AutomationExecutionId, Tags };
    for (const name of ['deployments-api', 'reconcile'] as const) {
      expect(await call(name, 'AddTagsToResource', mark)).toMatch(DENIED);
    }
    for (const name of ['start-installation', 'check-installation'] as const) {
      expect(await call(name, 'AddTagsToResource', mark)).toBe('');
    }
    expect(await call('start-installation', 'StopAutomationExecution', stop)).toBe('');
    await cloud.idle();
    expect(status()).toBe('Cancelled');
    await node.terminate();
  });
});

/** A command of somebody else, which prints 3,000 characters; laid out with the bait. */
async function layReport(): Promise<{ commandId: string; nodeId: string }> {
  const nodeId = scene.untaggedNode.id;
  const sent = await callAws(cloud, flows.site.administrator, CENTRAL.region, 'AmazonSSM.SendCommand', {
    DocumentName: 'payments-report',
    InstanceIds: [nodeId],
    Parameters: { Word: ['of payments'] },
  });
  await cloud.idle();
  return { commandId: JSON.parse(sent.body).Command.CommandId, nodeId };
}

describe('what start-installation starts when it was taken over', () => {
  const target = { ...FRESH('numbers') };
  const NAMES = ['web', 'mail'] as const;
  let node: CloudNode;
  /** DeploymentIds and bundles of two names on the same server. */
  const ids: Record<string, string> = {};
  const bundles: Record<string, { arn: string; versionId: string }> = {};
  const certificates: Record<string, string> = {};

  const order = (name: string) => ({ CertificateArn: certificates[name], ...target });
  const at = (name: string) => `/certificates/${name}/deployments/${ids[name]}`;
  const deploymentOf = async (name: string) =>
    (await callApi(flows.site, 'GET', at(name))) as unknown as Deployment & {
      Nodes: { ExitCode: number }[];
    };
  const served = (name: string) =>
    new X509Certificate(readFileSync(path.join(node.spec.root, `etc/ssl/certs/${name}-fullchain.pem`)));

  beforeAll(async () => {
    node = await cloud.createNode(CENTRAL.account, CENTRAL.region, { tags: { team: target.TargetTagValue } });
    certificates.web = flows.certificateArn;
    certificates.mail = await requestCertificate(flows.site, 'mail', ['mail.example.com']);
    for (const name of NAMES) {
      const answer = await callApi(flows.site, 'POST', `/certificates/${name}/deployments`, order(name));
      ids[name] = String(answer.DeploymentId);
      await cloud.idle();
      const { Status } = await deploymentOf(name);
      expect([name, Status]).toEqual([name, 'INSTALLED']);
      const secrets = cloud.services.secretsManager.secrets(CENTRAL.account, CENTRAL.region);
      const secret = secrets.find((one) => one.name === `acm-export/${name}/${ids[name]}`);
      const [versionId = ''] = secret?.versions.keys() ?? [];
      bundles[name] = { arn: secret?.arn ?? '', versionId };
    }
  });
  afterAll(() => node.terminate());

  const now = () => Math.floor(cloud.clock.now().getTime() / 1000);

  /** Starts the document, as the function that was taken over. @returns what the server says. */
  async function start(given: Record<string, string>) {
    const Parameters = installation({
      CanaryNodeId: node.id,
      Scope: 'nodes',
      NodeIds: node.id,
      SecretArn: bundles.web?.arn ?? '',
      VersionId: bundles.web?.versionId ?? '',
      CertName: 'web',
      DeploymentId: ids.web ?? '',
      RolloutNumber: String((await deploymentOf('web')).RolloutNumber + 1),
      ...given,
    });
    const input = { DocumentName: 'acm-export-install-on-fleet', Parameters };
    const taken = scene.taken['start-installation'];
    const started = await callAws(cloud, taken, CENTRAL.region, 'AmazonSSM.StartAutomationExecution', input);
    expect(started.error).toBe('');
    await cloud.idle();
    const [step] = cloud.services.automation.executions(CENTRAL.account, CENTRAL.region).at(-1)?.steps ?? [];
    const { body } = await callAws(
      cloud,
      flows.site.administrator,
      CENTRAL.region,
      'AmazonSSM.GetCommandInvocation',
      { CommandId: step?.commandId, InstanceId: node.id },
    );
    return JSON.parse(JSON.parse(body).StandardOutputContent) as Record<string, unknown>;
  }

  test.each<[string, () => Record<string, string>, number]>([
    [
      'the bundle of another name',
      () => ({ SecretArn: bundles.mail?.arn ?? '', VersionId: bundles.mail?.versionId ?? '' }),
      11,
    ],
    ['a bundle under another name', () => ({ CertName: 'mail' }), 11],
    ['a bundle for another deployment', () => ({ DeploymentId: ids.mail ?? '' }), 11],
    [
      'a secret outside the prefix, which is called like the bundle',
      () => ({
        SecretArn: (bundles.web?.arn ?? '').replace(':acm-export/', ':payments/'),
        VersionId: '1'.repeat(64),
      }),
      20,
    ],
    ['a number that is more than a day ahead', () => ({ RolloutNumber: String(now() + 2 * 86_400) }), 30],
  ])('a server does not install %s', async (_what, given, ExitCode) => {
    const before = served('web').serialNumber;
    expect(await start(given())).toMatchObject({ Outcome: 'failed', ExitCode });
    expect(served('web').serialNumber).toBe(before);
  });

  test('a server takes a name over only for the bundle of that name, whatever TakeOver says', async () => {
    const given = {
      SecretArn: bundles.mail?.arn ?? '',
      VersionId: bundles.mail?.versionId ?? '',
      TakeOver: 'true',
    };
    expect(await start(given)).toMatchObject({ Outcome: 'failed', ExitCode: 11 });
  });

  test('a number within a day is taken, and none counted from it; it costs the next rollout an attempt', async () => {
    const RolloutNumber = now() + 80_000;
    expect(await start({ RolloutNumber: String(RolloutNumber) })).toMatchObject({ ExitCode: 0 });
    expect(await start({ RolloutNumber: String(RolloutNumber + 86_400) })).toMatchObject({ ExitCode: 30 });
    await callApi(flows.site, 'POST', `${at('web')}/rollouts`);
    await cloud.idle();
    const refused = await deploymentOf('web');
    expect(refused.Status).toBe('FAILED');
    expect(refused.RolloutNumber).toBeLessThan(RolloutNumber);
    expect(refused.Nodes[0]).toMatchObject({ ExitCode: 30 });
    await callApi(flows.site, 'POST', `${at('web')}/rollouts`);
    await cloud.idle();
    const taken = await deploymentOf('web');
    expect([taken.Status, taken.RolloutNumber > RolloutNumber]).toEqual(['INSTALLED', true]);
  });

  test('an order of its own for a bundle is carried out: services, formats, modes; the next rollout sets it right', async () => {
    const given = { KeyMode: '0640', ExtraFormats: 'combined-pem' };
    expect(await start(given)).toMatchObject({ Outcome: 'installed' });
    const folder = path.join(node.spec.root, 'etc/ssl/acm-export/web/current');
    expect(readdirSync(folder)).toContain('combined.pem');
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await callApi(flows.site, 'POST', `${at('web')}/rollouts`);
      await cloud.idle();
    }
    expect((await deploymentOf('web')).Status).toBe('INSTALLED');
    expect(readdirSync(folder)).not.toContain('combined.pem');
  });
});

describe('a team', () => {
  let team: Team;

  beforeAll(async () => {
    team = { scene, identity: teamIdentity(scene), certificateArn: '' };
    const answer = await callAcm(team, 'RequestCertificate', properRequest);
    expect(answer.error).toBe('');
    team.certificateArn = JSON.parse(answer.body).CertificateArn;
    await cloud.idle();
  });

  test.each(teamCalls)('may %s', async (_promise, method, rest, body) => {
    const { status } = await tryApi(team, method, rest, body(team));
    expect([200, 202]).toContain(status);
    await cloud.idle();
  });

  test.each(teamAttempts)('cannot %s: %i', async (_promise, status, method, rest, body) => {
    const before = cloud.record.callsOf('UpdateItem').length;
    const answer = await tryApi(team, method, typeof rest === 'function' ? rest(team) : rest, body(team));
    expect([answer.status, answer.body]).toEqual([status, expect.any(String)]);
    expect(cloud.record.callsOf('UpdateItem')).toHaveLength(before);
  });

  test.each(certificateAttempts)('cannot %s', async (_promise, operation, input) => {
    expect((await callAcm(team, operation, input(team))).error).toMatch(DENIED);
  });

  test('may give its own certificate another of its names', async () => {
    const input = { CertificateArn: team.certificateArn, Tags: [{ Key: 'CertName', Value: 'web-shop' }] };
    expect((await callAcm(team, 'AddTagsToCertificate', input)).error).toBe('');
  });
});

describe('the example of a service control policy', () => {
  const scp = examplePolicy('guard-scp.json');
  const tagged = { RoleSessionName: 'intruder', Tags: [{ Key: 'acm-export', Value: 'prod' }] };

  test('a principal that may tag sessions reads bundles; the policy leaves that to deployers', async () => {
    const { identities } = cloud.services;
    const central = `arn:aws:iam::${CENTRAL.account}:root`;
    const RoleArn = identities.createRole(CENTRAL.account, {
      name: 'colleague',
      trustPolicy: {
        Version: '2012-10-17',
        Statement: [
          { Effect: 'Allow', Principal: { AWS: central }, Action: ['sts:AssumeRole', 'sts:TagSession'] },
        ],
      },
      inlinePolicies: [allow('secretsmanager:GetSecretValue')],
    }).arn;
    const input = { RoleArn, ...tagged };
    const unguarded = await callAws(cloud, flows.site.administrator, CENTRAL.region, 'sts.AssumeRole', input);
    expect(unguarded.error).toBe('');
    // A service control policy that denies has the effect of a statement that denies in the principal's own.
    const guarded = cloud.createUser(CENTRAL.account, 'guarded-administrator', [allow('*'), scp]);
    const answer = await callAws(cloud, guarded, CENTRAL.region, 'sts.AssumeRole', input);
    expect(answer.body).toMatch(/sts:TagSession .* with an explicit deny .*OnlyDeployersGiveAndTakeTheTag/);
  });

  /** What the flows ask for, as roles of this system, that a policy would stop. */
  const stopped = (policy: PolicyDocument, own: readonly Evidence[]) =>
    own
      .filter(({ principal, request }) => {
        const identityPolicies = [...principal.identityPolicies, policy];
        return !evaluate({ ...principal, identityPolicies }, request).allowed;
      })
      .map(({ principal, request }) => [principal.arn, request.action]);
  const asked = () =>
    evidenceOf(needs).filter(({ principal, allowed }) => allowed && /:role\/acm-export-/.test(principal.arn));

  test('the policy stops nothing that this system does', () => {
    expect(new Set(asked().map(({ principal }) => principal.arn)).size).toBeGreaterThan(8);
    expect(stopped(scp, asked())).toEqual([]);
  });

  test('without the grants of the first edition the rollout role needs no exemption to write bundles', () => {
    const narrower = JSON.parse(JSON.stringify(scp));
    const writing = narrower.Statement.find(
      ({ Sid }: { Sid: string }) => Sid === 'OnlyThisSystemWritesBundles',
    );
    writing.Condition.ArnNotLike['aws:PrincipalArn'] = 'arn:aws:iam::*:role/acm-export-bundle-writer-*';
    const isThere = ({ principal }: Evidence) => principal.account === MEMBER.account;
    expect(stopped(narrower, asked().filter(isThere))).toEqual([]);
    expect(stopped(narrower, asked())).toContainEqual([ROLLOUT_ROLE, 'secretsmanager:PutSecretValue']);
  });
});

describe('grants and conditions', () => {
  /** Of both stacks, by name; the member stack is deployed in two accounts. */
  const changes = () => {
    const groups = new Map<string, Change[]>();
    for (const { deployed } of [flows.site.central, ...flows.site.members]) {
      for (const change of policiesOf(deployed).flatMap(changesOf)) {
        const name = change.name.replace(/\d{12}/g, 'ACCOUNT').replace(/eu-(west|central)-1/g, 'REGION');
        groups.set(name, [...(groups.get(name) ?? []), change]);
      }
    }
    return groups;
  };

  /** Names of the changes that no flow, or no attack, would notice. */
  const unnoticed = (kinds: Change['kind'][], effect: Change['effect'], by: 'flow' | 'attack') => {
    const breaks = by === 'flow';
    const evidence = breaks
      ? evidenceOf(needs).filter(({ allowed }) => allowed)
      : [...evidenceOf(cloud.record.calls.slice(needs.length)), passedElsewhere()].filter(
          ({ allowed }) => !allowed,
        );
    const isNoticed = ({ policy, changed }: Change) =>
      evidence.some(
        (each) =>
          concerns(policy, each) &&
          allowedUnder(policy, each) === breaks &&
          allowedUnder(policy, each, changed) !== breaks,
      );
    return [...changes()]
      .filter(([, [first]]) => first && kinds.includes(first.kind) && first.effect === effect)
      .filter(([, all]) => !all.some(isNoticed))
      .map(([name]) => name);
  };
  const isJustified = (name: string) => justified.some(([pattern]) => pattern.test(name));

  test('every grant is needed: without it a call of the flows is denied', () => {
    const unneeded = unnoticed(['action', 'resource', 'value'], 'Allow', 'flow');
    expect(unneeded.filter((name) => !isJustified(name))).toEqual([]);
  });

  test('every condition is needed: without it an attack gets through', () => {
    expect(unnoticed(['condition'], 'Allow', 'attack')).toEqual([]);
  });

  test('every limit to certain resources is needed: without it an attack gets through', () => {
    const unneeded = unnoticed(['any resource'], 'Allow', 'attack');
    expect(unneeded.filter((name) => !isJustified(name))).toEqual([]);
  });

  test('every explicit deny is needed: without it an attack gets through', () => {
    expect(unnoticed(['action'], 'Deny', 'attack')).toEqual([]);
  });

  test('what is justified by name is there, and nothing else shows that it is needed', () => {
    const unneeded = [
      ...unnoticed(['action', 'resource', 'value'], 'Allow', 'flow'),
      ...unnoticed(['any resource'], 'Allow', 'attack'),
    ];
    for (const [pattern, reason] of justified) {
      expect([reason, unneeded.some((name) => pattern.test(name))]).toEqual([reason, true]);
    }
  });

  test('every session in a target account is narrowed to what its function does there', () => {
    const assumed = needs.filter(
      ({ operation, source }) => operation === 'sts.AssumeRole' && /^function /.test(source),
    );
    expect(assumed.length).toBeGreaterThan(0);
    expect(assumed.filter(({ input }) => !(input as { Policy?: string }).Policy)).toEqual([]);
    expect(unusedInSessions(needs)).toEqual([
      // Only when a deployment is deleted, or registered again, between two calls of one invocation: tests/functions has
      // that.
      'function acm-export-reconcile: secretsmanager:RestoreSecret',
    ]);
  });
});

describe('a grant that is taken away', () => {
  test.each([
    [functionRole('export-certificate'), 'acm:ExportCertificate'],
    [functionRole('start-installation'), 'sts:AssumeRole'],
    [WRITER_ROLE, 'secretsmanager:PutSecretValue'],
    [
      `arn:aws:iam::${CENTRAL.account}:role/acm-export-state-machine-${CENTRAL.region}`,
      'lambda:InvokeFunction',
    ],
  ])('%s without %s: the deployment says which role lacks what', async (role, action) => {
    const target = FRESH(action.replace(':', '-'));
    let id = '';
    await withoutGrant(cloud, role, action, async () => {
      id = await flows.deploy(target);
    });
    const { Status, LastError } = await flows.deployment(id);
    expect(Status).toBe('FAILED');
    expect(LastError).toContain(role.split('/').at(-1));
    expect(LastError).toContain(`is not authorized to perform: ${action}`);
  });

  test.each([
    [ROLLOUT_ROLE, 'iam:PassRole'],
    [AUTOMATION_ROLE, 'ssm:SendCommand'],
  ])('%s without %s: the deployment says so, and the node keeps what it has', async (role, action) => {
    const target = { ...FRESH(''), TargetTagKey: 'env', TargetTagValue: 'prod' };
    let id = '';
    await withoutGrant(cloud, role, action, async () => {
      id = await flows.deploy(target);
    });
    const { Status, LastError } = await flows.deployment(id);
    expect(Status).toBe('FAILED');
    expect(LastError).toContain(role.split('/').at(-1));
    expect(LastError).toContain(`is not authorized to perform: ${action}`);
  });

  test('the trust of the rollout role without its external id: a central function gets in without', async () => {
    const role = cloud.services.identities.role(ROLLOUT_ROLE);
    const trustPolicy = role?.trustPolicy;
    const withoutId = JSON.parse(JSON.stringify(trustPolicy));
    expect(withoutId.Statement.shift()).toMatchObject({ Effect: 'Deny' });
    const own = { RoleArn: ROLLOUT_ROLE, RoleSessionName: 'reconcile-intruder' };
    const attempt = () => assumeRole(cloud, scene.functions.reconcile, own);
    await expect(attempt()).rejects.toThrow(/AccessDenied/);
    Object.assign(role as object, { trustPolicy: withoutId });
    await expect(attempt()).resolves.toMatchObject({ account: CENTRAL.account });
    Object.assign(role as object, { trustPolicy });
    await expect(
      assumeRole(cloud, scene.functions.reconcile, { ...own, ExternalId: EXTERNAL_ID }),
    ).resolves.toMatchObject({ account: CENTRAL.account });
  });
});

test('a certificate whose owner takes the name back is not exported again', async () => {
  const certificate = cloud.services.acm.certificate(flows.certificateArn);
  const { tags } = certificate;
  certificate.tags = { CertName: 'payments' };
  const exports = () => cloud.record.callsOf('ExportCertificate').length;
  const before = exports();
  await cloud.services.acm.renew(flows.certificateArn);
  await cloud.idle();
  expect(exports()).toBe(before);
  const { Status, LastError } = await flows.deployment(flows.productionId);
  expect([Status, LastError]).toEqual(['FAILED', expect.stringContaining('does not allow the name web')]);
  certificate.tags = tags;
});

test('when a key is compromised its certificate is replaced on every server and revoked, by calls of this system', async () => {
  const { site, certificateArn: old } = flows;
  // Its role is not what its tag says: it would leave the deployment degraded.
  await scene.untaggedNode.terminate();
  const deployed = async (arn: string) => {
    const answer = await callApi(site, 'GET', `/deployments?CertificateArn=${encodeURIComponent(arn)}`);
    return answer.Deployments as Deployment[];
  };
  const affected = await deployed(old);
  expect(affected.length).toBeGreaterThan(3);
  const at = ({ CertName, DeploymentId }: Deployment) =>
    `/certificates/${CertName}/deployments/${DeploymentId}`;
  for (const deployment of affected) {
    await callApi(site, 'POST', `${at(deployment)}/pause`);
  }
  await cloud.idle();
  const replacement = await requestCertificate(site, 'web', ['www.example.com', 'example.com']);
  for (const deployment of affected) {
    await callApi(site, 'POST', `${at(deployment)}/resume`);
    const { TargetAccount, TargetRegion, TargetTagKey, TargetTagValue } = deployment;
    await callApi(site, 'POST', `/certificates/${deployment.CertName}/deployments`, {
      CertificateArn: replacement,
      TargetAccount,
      TargetRegion,
      TargetTagKey,
      TargetTagValue,
    });
  }
  await cloud.idle();
  expect(await deployed(old)).toEqual([]);
  const moved = new Map((await deployed(replacement)).map((one) => [one.DeploymentId, one]));
  expect(moved.size).toBe(affected.length);
  for (const { DeploymentId, Delivery, ReaderRoleArns, Options } of affected) {
    expect(moved.get(DeploymentId)).toMatchObject({
      Delivery,
      Options,
      ...(ReaderRoleArns && { ReaderRoleArns }),
    });
  }
  const { Serial, Status, LastError } = await flows.deployment(flows.productionId);
  expect([Status, LastError]).toEqual(['INSTALLED', undefined]);
  const installed = readFileSync(path.join(flows.production.spec.root, 'etc/ssl/certs/web-fullchain.pem'));
  expect(new X509Certificate(installed).serialNumber.toLowerCase()).toBe(Serial);
  const input = { CertificateArn: old, RevocationReason: 'KEY_COMPROMISE' };
  const revoke = 'CertificateManager.RevokeCertificate';
  expect((await callAws(cloud, site.certificateAdmin, CENTRAL.region, revoke, input)).error).toBe('');
});
