import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Cloud, Identity, RecordedCall } from 'local-cloud';
import { evaluate } from 'local-cloud/iam';
import { startCloud } from '../../local/cloud.ts';
import { CENTRAL, callApi, requestCertificate } from '../../local/example-fleet.ts';
import { attacks, serviceAttacks } from '../security/attacks.ts';
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
  ROLLOUT_ROLE,
  type Scene,
  setScene,
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
  flows = new Flows(await deploySite(cloud));
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
    const answer = await callAws(cloud, scene.rollout, CENTRAL.region, start, input);
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
  const call = async (operation: string, input: object) => {
    const answer = await callAws(cloud, scene.rollout, CENTRAL.region, `AmazonSSM.${operation}`, {
      ...input,
    });
    expect(answer.error).toBe('');
    return JSON.parse(answer.body);
  };

  test('looks at any node of a target account', async () => {
    const InstanceIds = [scene.untaggedNode.id];
    const { Command } = await call('SendCommand', { DocumentName: 'acm-export-look-at-node', InstanceIds });
    await cloud.idle();
    const [InstanceId] = InstanceIds;
    const { CommandId } = Command;
    const { StandardOutputContent } = await call('GetCommandInvocation', { CommandId, InstanceId });
    expect(StandardOutputContent).toMatch(/^end\t0\t/m);
  });

  describe('and what others sent in a target account', () => {
    let CommandId: string;
    const InstanceId = () => scene.untaggedNode.id;

    beforeAll(async () => {
      cloud.services.ssmDocuments.create(CENTRAL.account, CENTRAL.region, {
        name: 'payments-report',
        type: 'Command',
        content: {
          schemaVersion: '2.2',
          parameters: { Word: { type: 'String' } },
          mainSteps: [
            { name: 'Print', action: 'aws:runShellScript', inputs: { runCommand: ['printf %03000d 7'] } },
          ],
        },
      });
      const sent = await callAws(cloud, flows.site.administrator, CENTRAL.region, 'AmazonSSM.SendCommand', {
        DocumentName: 'payments-report',
        InstanceIds: [InstanceId()],
        Parameters: { Word: ['of payments'] },
      });
      await cloud.idle();
      ({ CommandId } = JSON.parse(sent.body).Command);
    });
    const seen = { Parameters: { Word: ['of payments'] } };

    test('reads parameters and output of commands that others sent in a target account', async () => {
      expect((await call('ListCommands', { CommandId })).Commands).toMatchObject([seen]);
      const input = { CommandId, InstanceId: InstanceId() };
      expect((await call('GetCommandInvocation', input)).StandardOutputContent).toHaveLength(3000);
    });

    test('lists commands of others, with their parameters, in a session of check-installation', async () => {
      const narrowed = (operation: string, input: object) => {
        const identity = scene.sessions['check-installation'];
        return callAws(cloud, identity, CENTRAL.region, `AmazonSSM.${operation}`, { ...input });
      };
      const { body } = await narrowed('ListCommands', { CommandId });
      expect(JSON.parse(body).Commands).toMatchObject([seen]);
      const whole = await narrowed('GetCommandInvocation', { CommandId, InstanceId: InstanceId() });
      expect(whole.error).toMatch(DENIED);
    });
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

  test('the policy stops nothing that this system does', () => {
    const own = evidenceOf(needs).filter(
      ({ principal, allowed }) => allowed && /:role\/acm-export-/.test(principal.arn),
    );
    const stopped = own.filter(({ principal, request }) => {
      const identityPolicies = [...principal.identityPolicies, scp];
      return !evaluate({ ...principal, identityPolicies }, request).allowed;
    });
    expect(new Set(own.map(({ principal }) => principal.arn)).size).toBeGreaterThan(8);
    expect(stopped.map(({ principal, request }) => [principal.arn, request.action])).toEqual([]);
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
      'function acm-export-deployments-api: secretsmanager:RestoreSecret',
      'function acm-export-export-certificate: secretsmanager:DeleteSecret',
      'function acm-export-start-installation: ssm:StopAutomationExecution',
      'function acm-export-reconcile: secretsmanager:RestoreSecret',
    ]);
  });
});

describe('a grant that is taken away', () => {
  test.each([
    [functionRole('export-certificate'), 'acm:ExportCertificate'],
    [functionRole('start-installation'), 'sts:AssumeRole'],
    [ROLLOUT_ROLE, 'secretsmanager:PutSecretValue'],
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
    delete withoutId.Statement[0].Condition.StringEquals;
    const attempt = () => assumeRole(cloud, scene.functions.reconcile, { RoleArn: ROLLOUT_ROLE });
    await expect(attempt()).rejects.toThrow(/AccessDenied/);
    Object.assign(role as object, { trustPolicy: withoutId });
    await expect(attempt()).resolves.toMatchObject({ account: CENTRAL.account });
    Object.assign(role as object, { trustPolicy });
    await expect(
      assumeRole(cloud, scene.functions.reconcile, { RoleArn: ROLLOUT_ROLE, ExternalId: EXTERNAL_ID }),
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
  // Its role is not what its tag says: it would hold up the others.
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
