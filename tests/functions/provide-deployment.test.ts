import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { CustomResource, CustomStack } from 'local-cloud';
import { CHANGED_MEANWHILE } from '../../functions/domain/next.ts';
import { Application } from './support/application.ts';

let app: Application;
let count = 0;
/** Each test has a stack, a tag and so a deployment of its own. */
let tag: string;
let more: Partial<CustomStack>;

beforeAll(async () => {
  app = await Application.create();
});
beforeEach(() => {
  count += 1;
  tag = `t${count}`;
  more = { stackName: `shop-${count}` };
  app.network = (_url, _init, pass) => pass();
  app.remaining = undefined;
  app.variables = {};
  model().requests.length = 0;
});
afterAll(() => app.cloud.stop());

const model = () => app.cloud.services.customResources;
const web = (properties: Record<string, unknown> = {}) =>
  app.resource({ TargetTagValue: tag, ...properties });
const deploy = (...resources: CustomResource[]) => app.deploy(resources, more);
const deployFailing = (...resources: CustomResource[]) => app.deploy(resources, { ...more, fails: true });
const remove = () => app.remove(more);
const sent = () => model().requests.map(({ RequestType }) => RequestType);
const rollouts = () =>
  app.cloud.services.stepFunctions
    .executions()
    .filter(({ arn }) => arn.includes(':acm-export-certificate-rollout:')).length;
const registered = async (TargetTagValue = tag) =>
  (await app.deployments()).find((one) => one.TargetTagValue === TargetTagValue);
const byPerson = (properties: object = {}) =>
  app.api('POST', '/certificates/web/deployments', {
    CertificateArn: app.certificateArn,
    TargetTagKey: 'acm-export',
    TargetTagValue: tag,
    ...properties,
  });
const isAnswer = (url: URL) => url.hostname.includes('.s3.');

describe('Create', () => {
  test('registers, waits until it is installed, and gives what a template may use', async () => {
    const node = await app.addNode(tag);
    const { status, reasons, resources } = await deploy(web({ VerifyPort: 443, ReloadServices: ['nginx'] }));
    expect([status, reasons]).toEqual(['CREATE_COMPLETE', []]);
    const deployment = await registered();
    expect(deployment).toMatchObject({ Status: 'INSTALLED', VerifyPort: 443, ReloadServices: ['nginx'] });
    expect(node.installed?.Serial).toBe(deployment?.Serial);
    expect(resources.get('Web')).toMatchObject({
      physicalId: `web/${deployment?.DeploymentId}/${deployment?.CreatedAt}`,
      data: {
        DeploymentId: deployment?.DeploymentId,
        CertName: 'web',
        Status: 'INSTALLED',
        Serial: deployment?.Serial,
        EarliestNotAfter: deployment?.EarliestNotAfter,
      },
    });
  });

  test('is done where no server carries the tag yet', async () => {
    const { status, resources } = await deploy(web());
    expect([status, resources.get('Web')?.data.Status]).toEqual(['CREATE_COMPLETE', 'WAITING']);
  });

  test('with Delivery secret is done when the bundle is stored', async () => {
    const ReaderRoleArns = [`arn:aws:iam::${app.account}:role/reader`];
    const refused = await deploy(web({ Delivery: 'secret', ReaderRoleArns }));
    // Which roles may read, the central stack says: this one says none.
    expect(refused.reasons).toEqual([
      expect.stringMatching(/^The target is not allowed\. ReaderRoleArns\.0: not one/),
    ]);
    expect(refused.status).toBe('ROLLBACK_COMPLETE');
  });

  test('of a rollout that fails says why, where and what to do, and the rollback removes the deployment', async () => {
    await app.addNode(tag, 'failed');
    const { status, reasons } = await deploy(web());
    expect(status).toBe('ROLLBACK_COMPLETE');
    expect(reasons).toEqual([
      expect.stringMatching(
        /^The rollout of certificate web failed: .*is broken.* Where: account \d{12}, Region eu-central-1, servers tagged acm-export=t\d+, deployment [0-9a-f]{24}\. Since: .* What to do: Read the error of each server/s,
      ),
    ]);
    expect(await registered()).toBeUndefined();
  });

  test('with WaitSeconds 0 does not wait', async () => {
    await app.addNode(tag, 'failed');
    const { status, resources } = await deploy(web({ WaitSeconds: 0 }));
    expect([status, resources.get('Web')?.data.Status]).toEqual(['CREATE_COMPLETE', 'ROLLING_OUT']);
    expect(await registered()).toMatchObject({ Status: 'FAILED' });
  });

  test('waits no longer than WaitSeconds', async () => {
    await app.addNode(tag);
    const before = app.clock.now().getTime();
    let answeredAt = 0;
    app.network = (url, _init, pass) => {
      if (isAnswer(url)) answeredAt ||= app.clock.now().getTime();
      return pass();
    };
    const { reasons } = await deploy(web({ WaitSeconds: 15 }));
    expect(answeredAt - before).toBe(15_000);
    expect(reasons).toEqual([
      expect.stringMatching(/the time to wait is over \(WaitSeconds 15\)\. A rollout .* What to do/),
    ]);
  });

  test('refuses properties that are not valid, by name, and asks the API nothing', async () => {
    const before = app.cloud.record.calls.length;
    const { reasons } = await deploy(web({ VerfyPort: 443, DryRun: true }));
    expect(reasons).toEqual([
      expect.stringMatching(/^The properties are not valid\. VerfyPort: unknown field; DryRun: no property/),
    ]);
    const operations = app.cloud.record.calls.slice(before).map(({ operation }) => operation);
    expect(operations).toContain('lambda.Invoke');
    expect(operations).not.toContain('execute-api.Invoke');
  });

  test('tells what the API refuses, with its faults', async () => {
    const { reasons } = await deploy(web({ TargetTagKey: 'other' }));
    expect(reasons).toEqual([
      expect.stringMatching(/^The target is not allowed\. TargetTagKey: not one of the tag keys/),
    ]);
  });

  test('leaves alone what a person has registered, and the rollback does not delete it', async () => {
    await byPerson({ VerifyPort: 8443 });
    const { status, reasons, resources } = await deploy(web({ VerifyPort: 443 }));
    expect(status).toBe('ROLLBACK_COMPLETE');
    expect(reasons).toEqual([expect.stringMatching(/is there already, registered at .* by something else/)]);
    expect([sent(), resources.size]).toEqual([['Create', 'Delete'], 0]);
    expect(await registered()).toMatchObject({ VerifyPort: 8443 });
  });

  test('leaves alone what another stack, or another resource of the stack, has registered', async () => {
    await deploy(web());
    const other = { ...web({ VerifyPort: 443 }), logicalId: 'Other' };
    const { status } = await deploy(web(), other);
    expect(status).toBe('UPDATE_ROLLBACK_COMPLETE');
    more = { stackName: 'another' };
    expect((await deploy(other)).status).toBe('ROLLBACK_COMPLETE');
    expect(await registered()).toMatchObject({ VerifyPort: 0 });
  });

  test('with Adopt takes it over, and neither rollback nor deletion of the stack deletes it', async () => {
    await byPerson({ VerifyPort: 8443 });
    const failed = await deployFailing(web({ Adopt: true, VerifyPort: 443 }));
    expect([failed.status, await registered()]).toMatchObject(['ROLLBACK_COMPLETE', { VerifyPort: 443 }]);
    more = { stackName: 'once-more' };
    const { status, resources } = await deploy(web({ Adopt: true, KeyMode: '0640' }));
    expect([status, resources.get('Web')?.physicalId]).toEqual([
      'CREATE_COMPLETE',
      expect.stringMatching(/\/adopted$/),
    ]);
    expect((await deploy(web({ Adopt: true, KeyMode: '0600' }))).status).toBe('UPDATE_COMPLETE');
    const before = app.cloud.record.calls.length;
    expect((await remove()).status).toBe('DELETE_COMPLETE');
    // The name may no longer be one of the stack's.
    const operations = app.cloud.record.calls.slice(before).map(({ operation }) => operation);
    expect(operations).not.toContain('execute-api.Invoke');
    expect(await registered()).toMatchObject({ VerifyPort: 0, KeyMode: '0600' });
  });

  test('with Adopt delivered twice does not own it the second time either', async () => {
    await byPerson();
    await deploy(web({ Adopt: true }));
    const answers: string[] = [];
    app.network = async (url, init, pass) => {
      if (isAnswer(url)) answers.push(JSON.parse(String(init.body)).PhysicalResourceId);
      return pass();
    };
    await app.deliver(model().requests[0] as object);
    expect(answers).toEqual([expect.stringMatching(/\/adopted$/)]);
  });

  test('with Adopt whose answer never arrives does not cost another what it has registered', async () => {
    await byPerson();
    app.network = async (url, _init, pass) => {
      if (isAnswer(url) && sent().length === 1) throw new TypeError('fetch failed');
      return pass();
    };
    const { status } = await deploy(web({ Adopt: true, VerifyPort: 443, ServiceTimeout: 120 }));
    expect([status, sent()]).toEqual(['ROLLBACK_COMPLETE', ['Create', 'Delete']]);
    expect(await registered()).toBeDefined();
  });

  test('with Adopt under another logical id keeps the deployment of the one before', async () => {
    await deploy(web());
    const { status } = await deploy({ ...web({ Adopt: true }), logicalId: 'Renamed' });
    expect([status, sent()]).toEqual(['UPDATE_COMPLETE', ['Create', 'Create', 'Delete']]);
    expect(await registered()).toBeDefined();
  });

  test('with Adopt in another stack keeps the deployment when the stack before is deleted', async () => {
    await deploy(web());
    more = { stackName: 'the-new-one' };
    await deploy(web({ Adopt: true }));
    more = { stackName: `shop-${count}` };
    expect((await remove()).status).toBe('DELETE_COMPLETE');
    expect(await registered()).toBeDefined();
  });

  test('takes what was only tried for free', async () => {
    await byPerson({ DryRun: true });
    expect(await registered()).toMatchObject({ Status: 'TRIED' });
    expect(await deploy(web())).toMatchObject({ status: 'CREATE_COMPLETE', reasons: [] });
  });

  test('that is delivered twice is known again: one rollout, one physical id', async () => {
    await app.addNode(tag);
    const { resources } = await deploy(web());
    const [before, id] = [rollouts(), resources.get('Web')?.physicalId];
    const [create] = model().requests;
    const answers: string[] = [];
    app.network = async (url, init, pass) => {
      if (isAnswer(url)) answers.push(String(init.body));
      return pass();
    };
    await app.deliver(create as object);
    expect(answers.map((text) => JSON.parse(text))).toEqual([
      expect.objectContaining({ Status: 'SUCCESS', PhysicalResourceId: id }),
    ]);
    expect(rollouts()).toBe(before);
  });

  test('whose POST loses every answer is cleaned up by the rollback', async () => {
    app.network = async (_url, init, pass) => {
      const response = await pass();
      if (init.method === 'POST') throw new TypeError('fetch failed', { cause: { code: 'ECONNRESET' } });
      return response;
    };
    const { status, reasons } = await deploy(web({ ServiceTimeout: 60 }));
    expect(reasons).toEqual([
      expect.stringMatching(/^The deployments API did not take POST .* no answer \(ECONNRESET\)/),
    ]);
    expect([status, sent()]).toEqual(['ROLLBACK_COMPLETE', ['Create', 'Delete']]);
    expect(await registered()).toBeUndefined();
  });

  test('whose answer never arrives is cleaned up, by an id that CloudFormation made', async () => {
    app.network = async (url, _init, pass) => {
      if (isAnswer(url) && sent().length === 1) throw new TypeError('fetch failed');
      return pass();
    };
    const { status, reasons } = await deploy(web({ ServiceTimeout: 120 }));
    expect(reasons).toEqual(['CloudFormation did not receive a response in time.']);
    expect(status).toBe('ROLLBACK_COMPLETE');
    expect(model().requests.at(-1)?.PhysicalResourceId).toMatch(/^shop-\d+-Web-[0-9A-F]{12}$/);
    expect(await registered()).toBeUndefined();
  });

  test('whose answer never arrives does not cost another what it has registered', async () => {
    await byPerson();
    app.network = async (url, _init, pass) => {
      if (isAnswer(url) && sent().length === 1) throw new TypeError('fetch failed');
      return pass();
    };
    expect((await deploy(web({ ServiceTimeout: 120 }))).status).toBe('ROLLBACK_COMPLETE');
    expect(await registered()).toBeDefined();
  });
});

describe('Update', () => {
  test('changes options in place: what is left out gets its default, and the id stays', async () => {
    await app.addNode(tag);
    const id = (await deploy(web({ VerifyPort: 443, KeyMode: '0640' }))).resources.get('Web')?.physicalId;
    const { status, resources } = await deploy(web({ VerifyPort: 8443 }));
    expect([status, resources.get('Web')?.physicalId, sent()]).toEqual([
      'UPDATE_COMPLETE',
      id,
      ['Create', 'Update'],
    ]);
    const deployment = await registered();
    expect(deployment).toMatchObject({ Status: 'INSTALLED', VerifyPort: 8443 });
    expect(deployment?.KeyMode).toBeUndefined();
  });

  test('that changes nothing of the order starts no rollout, and succeeds however the servers are', async () => {
    const node = await app.addNode(tag);
    await deploy(web());
    node.behaviour = 'failed';
    await deploy(web({ VerifyPort: 443 }));
    const before = rollouts();
    expect((await deploy(web({ WaitSeconds: 30 }))).status).toBe('UPDATE_COMPLETE');
    expect(rollouts()).toBe(before);
  });

  test('that fails is rolled back to the options before', async () => {
    const node = await app.addNode(tag);
    await deploy(web({ VerifyPort: 443 }));
    node.says = ({ VerifyPort = '' }) => {
      node.says = undefined;
      return {
        stdout: `{"Outcome":"failed","ExitCode":44,"DeploymentId":"x","Error":"${VerifyPort}"}\n`,
        exitCode: 44,
      };
    };
    const { status, reasons } = await deploy(web({ VerifyPort: 8443 }));
    expect([status, sent()]).toEqual(['UPDATE_ROLLBACK_COMPLETE', ['Create', 'Update', 'Update']]);
    expect(reasons).toEqual([expect.stringMatching(/^The rollout of certificate web failed/)]);
    expect(await registered()).toMatchObject({ Status: 'INSTALLED', VerifyPort: 443 });
  });

  test('whose rollout takes longer than its time is rolled back, and the way back does not wait for it again', async () => {
    await app.addNode(tag);
    await deploy(web({ VerifyPort: 443 }));
    const dead = await app.addNode(tag);
    dead.online = false;
    const { status, reasons } = await deploy(web({ VerifyPort: 8443 }));
    expect([status, sent()]).toEqual(['UPDATE_ROLLBACK_COMPLETE', ['Create', 'Update', 'Update']]);
    expect(reasons).toEqual([expect.stringMatching(/the time to wait is over/)]);
    expect(await registered()).toMatchObject({ Status: 'DEGRADED', VerifyPort: 443 });
  });

  test('that is delivered twice starts one rollout', async () => {
    await app.addNode(tag);
    await deploy(web());
    await deploy(web({ VerifyPort: 443 }));
    const before = rollouts();
    await app.deliver(model().requests.at(-1) as object);
    expect(rollouts()).toBe(before);
  });

  test('of the tag is a replacement: the former deployment is deleted when all is done', async () => {
    const former = (await deploy(web())).resources.get('Web')?.physicalId;
    const { status } = await deploy(web({ TargetTagValue: `${tag}-new` }));
    expect([status, sent()]).toEqual(['UPDATE_COMPLETE', ['Create', 'Update', 'Delete']]);
    expect(model().requests.at(-1)?.PhysicalResourceId).toBe(former);
    expect([await registered(), await registered(`${tag}-new`)]).toEqual([undefined, expect.anything()]);
    expect((await remove()).status).toBe('DELETE_COMPLETE');
    expect(await registered(`${tag}-new`)).toBeUndefined();
  });

  test('that replaces is taken back when another resource fails, also after a renewal', async () => {
    await app.addNode(tag);
    await deploy(web({ VerifyPort: 443 }));
    await app.renew();
    const made = await registered();
    const { status, resources, reasons } = await deployFailing(
      web({ VerifyPort: 443, TargetTagValue: `${tag}-new` }),
    );
    expect([status, reasons]).toEqual(['UPDATE_ROLLBACK_COMPLETE', ['Another resource failed.']]);
    expect(sent()).toEqual(['Create', 'Update', 'Update', 'Delete']);
    expect(await registered()).toMatchObject({
      CreatedAt: made?.CreatedAt,
      RolloutNumber: made?.RolloutNumber,
    });
    expect(await registered(`${tag}-new`)).toBeUndefined();
    expect(resources.get('Web')?.physicalId).toBe(`web/${made?.DeploymentId}/${made?.CreatedAt}`);
    expect((await remove()).status).toBe('DELETE_COMPLETE');
    expect(await registered()).toBeUndefined();
  });

  test('that fails to replace removes what it has registered, and keeps the former', async () => {
    await deploy(web());
    await app.addNode(`${tag}-new`, 'failed');
    const { status } = await deploy(web({ TargetTagValue: `${tag}-new` }));
    expect([status, sent()]).toEqual(['UPDATE_ROLLBACK_COMPLETE', ['Create', 'Update', 'Update']]);
    expect([await registered(), await registered(`${tag}-new`)]).toEqual([expect.anything(), undefined]);
  });

  test('registers anew what a person has removed meanwhile', async () => {
    const former = (await deploy(web())).resources.get('Web')?.physicalId ?? '';
    await app.api('DELETE', `/certificates/${former.split('/').slice(0, 2).join('/deployments/')}`);
    app.clock.advance(5000);
    const { status, resources } = await deploy(web({ VerifyPort: 443 }));
    expect([status, sent()]).toEqual(['UPDATE_COMPLETE', ['Create', 'Update', 'Delete']]);
    expect(await registered()).toMatchObject({ VerifyPort: 443 });
    expect(resources.get('Web')?.physicalId).not.toBe(former);
  });

  test('leaves alone what a person has removed and registered again', async () => {
    const former = (await deploy(web())).resources.get('Web')?.physicalId ?? '';
    await app.api('DELETE', `/certificates/${former.split('/').slice(0, 2).join('/deployments/')}`);
    app.clock.advance(5000);
    await byPerson({ VerifyPort: 8443 });
    const { reasons } = await deploy(web({ VerifyPort: 443 }));
    expect(reasons[0]).toMatch(/by something else than this resource/);
    expect((await remove()).status).toBe('DELETE_COMPLETE');
    expect(await registered()).toMatchObject({ VerifyPort: 8443 });
  });

  test('of a paused deployment is refused with the words of the API', async () => {
    const { resources } = await deploy(web());
    const path = String(resources.get('Web')?.physicalId).split('/').slice(0, 2).join('/deployments/');
    await app.api('POST', `/certificates/${path}/pause`);
    const { reasons, status } = await deploy(web({ VerifyPort: 443 }));
    expect(reasons).toEqual(['The deployment is paused: resume it first.']);
    expect(status).toBe('UPDATE_ROLLBACK_COMPLETE');
  });
});

describe('Delete', () => {
  test('of what is gone already succeeds', async () => {
    const { resources } = await deploy(web());
    const path = String(resources.get('Web')?.physicalId).split('/').slice(0, 2).join('/deployments/');
    await app.api('DELETE', `/certificates/${path}`);
    expect((await remove()).status).toBe('DELETE_COMPLETE');
  });

  test('that was delivered twice succeeds twice', async () => {
    await deploy(web());
    expect((await remove()).status).toBe('DELETE_COMPLETE');
    expect(await app.deliver(model().requests.at(-1) as object)).toMatchObject({
      Payload: JSON.stringify({ Status: 'SUCCESS' }),
    });
  });
});

describe('while rollouts are frozen', () => {
  test('a Create says so at once, and a Delete goes on', async () => {
    await deploy(web());
    await app.api('POST', '/freeze', { Reason: 'a change window' });
    const other = { ...web({ TargetTagValue: `${tag}-new` }), logicalId: 'Other' };
    const { reasons } = await deploy(web(), other);
    expect(reasons[0]).toMatch(
      /^All rollouts are frozen.*a change window.*Deploy the stack again when rollouts may begin/s,
    );
    expect((await remove()).status).toBe('DELETE_COMPLETE');
    await app.api('POST', '/thaw');
  });
});

describe('faults that pass', () => {
  const json = (status: number, body: object) => new Response(JSON.stringify(body), { status });

  test.each([
    ['429', async () => json(429, { message: 'Too Many Requests' })],
    ['502', async () => json(502, { message: 'Internal server error' })],
    ['no JSON', async () => new Response('<html>', { status: 503 })],
    [
      'another call that was faster',
      async () =>
        json(409, {
          Message: CHANGED_MEANWHILE,
          CorrelationId: 'x',
        }),
    ],
    [
      'no answer',
      async () => {
        throw new TypeError('fetch failed', { cause: { code: 'ECONNREFUSED' } });
      },
    ],
  ])('are overcome: %s', async (_name, fault) => {
    const seen = new Map<string, number>();
    app.network = (url, init, pass) => {
      const times = seen.get(init.method ?? '') ?? 0;
      seen.set(init.method ?? '', times + 1);
      return times < 3 && !isAnswer(url) ? fault() : pass();
    };
    expect((await deploy(web())).status).toBe('CREATE_COMPLETE');
    expect([seen.get('GET'), seen.get('POST')]).toEqual([expect.any(Number), 4]);
  });

  test('of the address for the answer are overcome', async () => {
    let refusals = 4;
    app.network = async (url, _init, pass) => (isAnswer(url) && refusals-- > 0 ? json(503, {}) : pass());
    expect((await deploy(web())).status).toBe('CREATE_COMPLETE');
  });
});

describe('an answer is sent in every case', () => {
  test('shortly before the end of the function', async () => {
    await app.addNode(tag);
    app.remaining = 60_000;
    const before = app.clock.now().getTime();
    let answeredAt = 0;
    app.network = (url, _init, pass) => {
      if (isAnswer(url)) answeredAt ||= app.clock.now().getTime();
      return pass();
    };
    const node = await app.addNode(tag);
    node.says = () => ({ stdout: '', exitCode: 1 });
    const { reasons } = await deploy(web());
    expect(reasons).toEqual([expect.stringMatching(/the time to wait is over|failed/)]);
    expect(answeredAt - before).toBeLessThan(60_000);
  });

  test('where the API never answers', async () => {
    app.remaining = 60_000;
    app.network = (url, _init, pass) => (isAnswer(url) ? pass() : new Promise(() => {}));
    const before = app.clock.now().getTime();
    const { reasons } = await deploy(web());
    expect(reasons).toEqual([
      expect.stringMatching(/^The time of this function is over\. What was asked for may/),
    ]);
    expect(app.clock.now().getTime() - before).toBeLessThan(120_000);
  });

  test.each([
    'https://evil.example.com/v1',
    'https://abcde12345.execute-api.eu-central-1.amazonaws.com.evil.example/v1',
    'http://abcde12345.execute-api.eu-central-1.amazonaws.com/v1',
    'https://abcde12345.execute-api.eu-central-1.amazonaws.com@evil.example/v1',
  ])('the credentials go to no host like %s', async (url) => {
    app.variables = { DEPLOYMENTS_API_URL: url };
    const hosts: string[] = [];
    app.network = (address, _init, pass) => {
      hosts.push(address.hostname);
      return pass();
    };
    expect((await deploy(web())).status).toBe('ROLLBACK_COMPLETE');
    expect(hosts.length).toBeGreaterThan(0);
    expect(hosts.filter((host) => !host.startsWith('cloudformation-custom-resource-response-'))).toEqual([]);
  });

  test('where something fails that nobody foresaw: it names the log, and no detail', async () => {
    app.variables = { DEPLOYMENTS_API_URL: 'https://evil.example.com/v1' };
    const { reasons } = await deploy(web());
    expect(reasons).toEqual([
      'The function failed: Error. Read its log: /aws/lambda/acm-export-provide-deployment.',
    ]);
  });
});

describe('the address for the answer', () => {
  const request = {
    RequestType: 'Delete',
    StackId: 'arn:…/shop/1',
    RequestId: 'r',
    LogicalResourceId: 'Web',
  };
  const invoke = async (ResponseURL: string) => {
    const asked: string[] = [];
    app.network = async (url) => {
      asked.push(url.hostname);
      return new Response('');
    };
    const answer = (await app.deliver({ ...request, ResponseURL, PhysicalResourceId: 'none/x' })) as {
      Payload: string;
    };
    return { asked, payload: answer.Payload };
  };

  test.each([
    'https://bucket.s3.eu-central-1.amazonaws.com/x?X-Amz-Signature=1',
    'https://bucket.s3.cn-north-1.amazonaws.com.cn/x?X-Amz-Signature=1',
  ])('%s is one of AWS', async (url) => {
    expect((await invoke(url)).asked).toEqual([new URL(url).hostname]);
  });

  test.each([
    'http://bucket.s3.eu-central-1.amazonaws.com/secret',
    'https://amazonaws.com.evil.example/secret',
    'https://evilamazonaws.com/secret',
    'https://bucket.s3.amazonaws.com:8443/secret',
    'https://user@bucket.s3.amazonaws.com/secret',
    'secret',
  ])('%s is refused, and stands in no error', async (url) => {
    const { asked, payload } = await invoke(url);
    expect(asked).toEqual([]);
    expect(payload).toContain('The ResponseURL is not an address of AWS');
    expect(payload).not.toContain('secret');
  });

  test('that refuses the answer is an error of the function, which Lambda counts', async () => {
    app.network = async () => new Response('', { status: 403 });
    const url = 'https://bucket.s3.amazonaws.com/x';
    const answer = await app.deliver({ ...request, ResponseURL: url, PhysicalResourceId: 'none/x' });
    expect(answer).toMatchObject({
      FunctionError: 'Unhandled',
      Payload: expect.stringContaining('HTTP 403'),
    });
  });
});

test.each([{}, { RequestType: 'Create' }, { ResponseURL: 'https://x' }])('%j is ignored', async (event) => {
  expect(await app.deliver(event)).toMatchObject({
    Payload: expect.stringMatching(/^\{"Ignored":"not a request/),
  });
});
