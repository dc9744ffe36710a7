import './quiet.ts';
import type { ACMClient } from '@aws-sdk/client-acm';
import type { SFNClient } from '@aws-sdk/client-sfn';
import type { SNSClient } from '@aws-sdk/client-sns';
import type { STSClient } from '@aws-sdk/client-sts';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEvent } from 'aws-lambda';
import {
  type CheckInstallationInput,
  checkInstallation,
} from '../../../functions/check-installation/check-installation.ts';
import { route } from '../../../functions/deployments-api/route.ts';
import { exportCertificate } from '../../../functions/export-certificate/export-certificate.ts';
import { handleRenewal, startRenewal } from '../../../functions/handle-renewal/handle-renewal.ts';
import { reconcile } from '../../../functions/reconcile/reconcile.ts';
import { handleFailure, reportFailure } from '../../../functions/report-failure/report-failure.ts';
import type { Deployment } from '../../../functions/shared/deployment.ts';
import { Inventory } from '../../../functions/shared/inventory.ts';
import { type Notification, notify } from '../../../functions/shared/notification.ts';
import {
  type SessionStatement,
  type TargetClients,
  targetAccounts,
} from '../../../functions/shared/target-account.ts';
import {
  type Installation,
  type StartInstallationInput,
  startInstallation,
} from '../../../functions/start-installation/start-installation.ts';
import { Clock } from './clock.ts';
import { FakeAcm } from './fake-acm.ts';
import { FakeService } from './fake-service.ts';
import { type Execution, FakeStepFunctions } from './fake-step-functions.ts';
import { FakeSts } from './fake-sts.ts';
import { FakeTarget } from './fake-target.ts';
import type { Database } from './inventory-table.ts';

export const CENTRAL = '111122223333';
export const MEMBER = '444455556666';
export const REGION = 'eu-central-1';
const STATE_MACHINE = `arn:aws:states:${REGION}:${CENTRAL}:stateMachine:acm-export-certificate-rollout`;
const TOPIC = `arn:aws:sns:${REGION}:${CENTRAL}:acm-export-notifications`;

class FakeSns extends FakeService {
  Publish() {
    return { MessageId: '0' };
  }
}

export interface ApiAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the answer of any route
  body: any;
}

export interface ApiRequest {
  path?: Record<string, string> | null;
  query?: Record<string, string> | null;
  body?: unknown;
}

/** What of a system a test may put its hands between: by default the real thing. */
export interface Wrappers {
  /** Around every call to DynamoDB and Step Functions. */
  around?: <T>(call: () => Promise<T>) => Promise<T>;
}

/** Everything that a stack is, in one process: real functions and table, every other service faked. */
export class System {
  readonly clock = new Clock();
  readonly sfn = new FakeStepFunctions();
  readonly acm = new FakeAcm();
  readonly sts = new FakeSts();
  readonly sns = new FakeSns();
  readonly targets = new Map<string, FakeTarget>();
  readonly inventory: Inventory;
  readonly client: DynamoDBDocumentClient;
  readonly table: string;
  requireCertificateTag = true;
  random = () => 0.5;
  readonly #sent = new Set<string>();
  readonly #renewals = new Map<string, unknown>();
  readonly #states = new Map<string, { state: string; data: Record<string, unknown> }>();

  constructor(database: Pick<Database, 'client'>, table: string) {
    this.client = database.client;
    this.table = table;
    this.inventory = new Inventory(database.client, table, this.clock.now);
  }

  /** The member account by default. */
  target(account = MEMBER, region = REGION): FakeTarget {
    const key = `${account}/${region}`;
    const target = this.targets.get(key) ?? new FakeTarget();
    this.targets.set(key, target);
    return target;
  }

  messages(): { Subject: string; Message: string }[] {
    return this.sns.callsOf('Publish');
  }

  rolloutsEnabled = true;

  /** What the functions get, with the calls of one caller wrapped. */
  deps({ around }: Wrappers = {}, functionName = 'test') {
    const wrap = <T>(client: T): T => {
      const { send } = client as { send: (command: unknown) => Promise<unknown> };
      return around
        ? ({ send: (command: unknown) => around(() => send.call(client, command)) } as unknown as T)
        : client;
    };
    const openSession = targetAccounts({
      sts: this.sts.client<STSClient>(),
      prefix: 'acm-export',
      partition: 'aws',
      externalId: 'only-for-these-tests',
      functionName,
    });
    return {
      inventory: around ? new Inventory(wrap(this.client), this.table, this.clock.now) : this.inventory,
      sfn: wrap(this.sfn.client<SFNClient>()),
      acm: this.acm.client<ACMClient>(),
      sns: this.sns.client<SNSClient>(),
      topicArn: TOPIC,
      stateMachineArn: STATE_MACHINE,
      rolloutsEnabled: this.rolloutsEnabled,
      prefix: 'acm-export',
      partition: 'aws',
      account: CENTRAL,
      region: REGION,
      targetAccounts: [CENTRAL, MEMBER],
      secretReaderRoles: ['ecs-execution', 'team-*'],
      targetTagKeys: ['acm-export', 'tier'],
      requireCertificateTag: this.requireCertificateTag,
      nodeRetentionDays: 7,
      timeoutMinutes: 120,
      now: this.clock.now,
      sleep: this.clock.sleep,
      random: this.random,
      correlationId: 'reconcile-1',
      connectTarget: async (
        target: Parameters<typeof openSession>[0],
        statements: SessionStatement[],
      ): Promise<TargetClients> => {
        const session = await openSession(target, statements);
        return this.target(target.TargetAccount, session.region).clients(statements);
      },
    };
  }

  async api(method: string, resource: string, request: ApiRequest = {}, wrappers?: Wrappers) {
    const { path = null, query = null, body = null } = request;
    const multi = Object.entries(query ?? {}).map(([name, value]) => [name, [value]]);
    const event = {
      httpMethod: method,
      resource,
      pathParameters: path,
      queryStringParameters: query,
      multiValueQueryStringParameters: query && Object.fromEntries(multi),
      body: body === null || typeof body === 'string' ? body : JSON.stringify(body),
      isBase64Encoded: false,
      requestContext: { requestId: 'request-1' },
    } as unknown as APIGatewayProxyEvent;
    return this.send(event, wrappers);
  }

  async send(event: APIGatewayProxyEvent, wrappers?: Wrappers): Promise<ApiAnswer> {
    const { statusCode, body } = await route(event, 'lambda-1', this.deps(wrappers, 'deployments-api'));
    return { status: statusCode, body: JSON.parse(body) };
  }

  /** POST …/deployments for the member account's nodes tagged acm-export=web, as `web-prod`. */
  register(body: Record<string, unknown>, wrappers?: Wrappers, certName = 'web-prod'): Promise<ApiAnswer> {
    return this.api(
      'POST',
      '/certificates/{CertName}/deployments',
      {
        path: { CertName: certName },
        body: {
          TargetTagKey: 'acm-export',
          TargetTagValue: 'web',
          TargetAccount: MEMBER,
          ...body,
        },
      },
      wrappers,
    );
  }

  rollouts(id: string, wrappers?: Wrappers): Promise<ApiAnswer> {
    const path = { CertName: 'web-prod', DeploymentId: id };
    return this.api(
      'POST',
      '/certificates/{CertName}/deployments/{DeploymentId}/rollouts',
      { path },
      wrappers,
    );
  }

  remove(id: string, wrappers?: Wrappers, query: Record<string, string> | null = null): Promise<ApiAnswer> {
    const path = { CertName: 'web-prod', DeploymentId: id };
    return this.api(
      'DELETE',
      '/certificates/{CertName}/deployments/{DeploymentId}',
      { path, query },
      wrappers,
    );
  }

  async deployment(id: string): Promise<Deployment> {
    const found = await this.inventory.get(id);
    if (!found) {
      throw new Error(`no deployment ${id}`);
    }
    return found;
  }

  /**
   * Delivers ACM's event of a renewal, as Lambda would once.
   *
   * @param how.forget without the record that this renewal was handled before.
   */
  renewal(arn: string, event: object = {}, how: Wrappers & { forget?: boolean } = {}) {
    const whole = {
      source: 'aws.acm',
      'detail-type': 'ACM Certificate Available',
      id: '5ec5f1d2-0a3b-4d2e-9c6a-000000000001',
      account: CENTRAL,
      region: REGION,
      time: this.clock.now().toISOString(),
      resources: [arn],
      detail: { Action: 'RENEWAL' },
      ...event,
    };
    return this.renewalOf(whole, how);
  }

  /** Delivers anything to handle-renewal. */
  renewalOf(event: unknown, { forget, ...wrappers }: Wrappers & { forget?: boolean } = {}) {
    const deps = this.deps(wrappers, 'handle-renewal');
    return handleRenewal(event, {
      ...deps,
      onceForSerial: async (renewal) => {
        const known = forget ? undefined : this.#renewals.get(renewal.Key);
        if (known) {
          return known as Awaited<ReturnType<typeof startRenewal>>;
        }
        const started = await startRenewal(renewal, deps);
        this.#renewals.set(renewal.Key, started);
        return started;
      },
    });
  }

  reconcile(task: 'nodes' | 'certificates', wrappers?: Wrappers) {
    const deps = this.deps(wrappers, 'reconcile');
    return reconcile(task, {
      ...deps,
      notifyOnce: async (key: string, notification: Notification) => {
        const day = this.clock.now().toISOString().slice(0, 10);
        if (!this.#sent.has(`${key}#${day}`)) {
          await notify(deps.sns, TOPIC, notification);
          this.#sent.add(`${key}#${day}`);
        }
      },
    });
  }

  /** Delivers an event to report-failure. */
  report(event: unknown, wrappers?: Wrappers) {
    const deps = this.deps(wrappers, 'report-failure');
    return handleFailure(event, {
      ...deps,
      onceForCause: async ({ Key, Event }) => {
        if (this.#sent.has(Key)) {
          return { Ignored: 'told already' };
        }
        const report = await reportFailure(Event, deps);
        this.#sent.add(Key);
        return report;
      },
    });
  }

  /** The event of an execution that ended as something else than SUCCEEDED. */
  executionEvent({ arn, name, input, status }: Execution, error?: { name: string; message: string }) {
    return {
      id: `event-of-${name}-${status}`.slice(0, 64),
      source: 'aws.states',
      'detail-type': 'Step Functions Execution Status Change',
      time: this.clock.now().toISOString(),
      resources: [arn],
      detail: {
        executionArn: arn,
        name,
        status,
        input,
        error: error?.name ?? null,
        cause: error
          ? JSON.stringify({ errorType: error.name, errorMessage: error.message, trace: [] })
          : null,
      },
    };
  }

  /** Runs one state of an execution, as the state machine would. False when it has ended. */
  async step(arn: string, wrappers?: Wrappers): Promise<boolean> {
    const execution = this.sfn.executions.get(arn);
    if (execution?.status !== 'RUNNING') {
      return false;
    }
    const { state, data } = this.#states.get(arn) ?? { state: 'Export', data: JSON.parse(execution.input) };
    try {
      const next = await this.#runState(state, data, wrappers);
      if (execution.status !== 'RUNNING') {
        return false;
      }
      if (typeof next === 'string') {
        execution.status = next as Execution['status'];
        if (next === 'FAILED') {
          const { Error: message = '' } = data.Installation as { Error?: string };
          await this.report(this.executionEvent(execution, { name: 'InstallationFailed', message }));
        }
        return false;
      }
      this.#states.set(arn, JSON.parse(JSON.stringify(next)));
      return true;
    } catch (error) {
      const fault = error as Error;
      if (fault.name === 'Crash') {
        // The state machine runs the same state again.
        return true;
      }
      if (execution.status === 'RUNNING') {
        execution.status = fault.name === 'RolloutSuperseded' ? 'SUCCEEDED' : 'FAILED';
        if (execution.status === 'FAILED') {
          await this.report(this.executionEvent(execution, fault));
        }
      }
      return false;
    }
  }

  async #runState(
    state: string,
    data: Record<string, unknown>,
    wrappers?: Wrappers,
  ): Promise<{ state: string; data: Record<string, unknown> } | 'SUCCEEDED' | 'FAILED'> {
    const input = data as unknown as CheckInstallationInput;
    if (state === 'Export') {
      const Bundle = await exportCertificate(input, this.deps(wrappers, 'export-certificate'));
      return { state: 'Start', data: { ...data, Bundle } };
    }
    if (state === 'Check') {
      for (const { ssm } of this.targets.values()) {
        ssm.runAutomation(input.Installation.AutomationExecutionId);
      }
      this.clock.advance({ seconds: input.Installation.WaitSeconds });
    }
    const installation: Installation =
      state === 'Start'
        ? await startInstallation(input as StartInstallationInput, this.deps(wrappers, 'start-installation'))
        : await checkInstallation(input, this.deps(wrappers, 'check-installation'));
    data.Installation = installation;
    if (installation.Status === 'IN_PROGRESS') {
      return { state: 'Check', data };
    }
    return installation.Status === 'FAILED' ? 'FAILED' : 'SUCCEEDED';
  }

  /** Runs every execution to its end, and those that follow. */
  async runAll(): Promise<void> {
    for (let running = this.sfn.running(); running.length > 0; running = this.sfn.running()) {
      for (const { arn } of running) {
        while (await this.step(arn));
      }
    }
  }
}
