import path from 'node:path';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import type { Context } from 'aws-lambda';
import {
  CertificateAuthority,
  type Cloud,
  type CustomStack,
  type Handler,
  type Identity,
  type StackResult,
  VirtualClock,
} from 'local-cloud';
import { type Deployed, resolveTemplate } from 'local-cloud/templates';
import { compose } from '../../../functions/provide-deployment/handler.ts';
import type { Clients } from '../../../functions/runtime/clients.ts';
import { createCloud } from '../../../local/cloud.ts';
import { ComposedFunctions } from '../../../local/composed-functions.ts';
import { ScriptedNode } from '../../../local/scripted-node.ts';
import { ROOT } from '../../templates/stacks.ts';

export const CENTRAL = '111122223333';
export const OTHER = '444455556666';
export const REGION = 'eu-central-1';
const EXTERNAL_ID = 'only-for-these-tests';

const resolved = (
  file: string,
  account: string,
  parameters: Record<string, string>,
  amend = (deployed: Deployed) => deployed,
) =>
  amend(
    resolveTemplate(path.join(ROOT, file), {
      account,
      region: REGION,
      stackName: `acm-export-${path.basename(file, '.yaml')}`,
      parameters,
    }),
  );

const central = resolved('template.yaml', CENTRAL, { ExternalId: EXTERNAL_ID });
export const API_URL = String(central.outputs.DeploymentsApiUrl);
const member = resolved('member-account.yaml', CENTRAL, {
  ExternalId: EXTERNAL_ID,
  CentralAccountId: CENTRAL,
  CentralRegion: REGION,
});
const authority = CertificateAuthority.create(new Date('2026-11-24T00:00:00Z'));
const ALL = [{ Statement: { Effect: 'Allow' as const, Action: '*', Resource: '*' } }];

export interface Options {
  certNames?: string;
  /** True: the application is in another account, and calls the API with the role of the example. */
  isElsewhere?: boolean;
  /** Names of that role, where they differ. */
  roleNames?: string;
  /** Changes what is deployed of both templates that this is about. */
  amend?: (deployed: Deployed) => Deployed;
}

/**
 * The whole system with the stack of deployment-resource.yaml, in virtual time and one process: stacks of an application are
 * deployed by the model of CloudFormation, and the function signs real requests, which the policies of the templates decide.
 */
export class Application {
  readonly clock = new VirtualClock();
  readonly account: string;
  cloud!: Cloud;
  certificateArn = '';
  stack!: Deployed;
  /** Stands between the function and the network. */
  network: (url: URL, init: RequestInit, pass: () => Promise<Response>) => Promise<Response> = (
    _,
    __,
    pass,
  ) => pass();
  /** Variables in place of the template's. */
  variables: Record<string, string> = {};
  /** Milliseconds that Lambda gives to the function; by default what the template says. */
  remaining: number | undefined;
  by!: Identity;
  operator!: Identity;

  private constructor({ isElsewhere = false }: Options) {
    this.account = isElsewhere ? OTHER : CENTRAL;
  }

  static async create(options: Options = {}): Promise<Application> {
    const {
      certNames = 'web,team-*',
      isElsewhere = false,
      roleNames = certNames,
      amend = (it) => it,
    } = options;
    const app = new Application(options);
    const { clock } = app;
    let functions: ComposedFunctions;
    const handlerOf =
      (name: string): Handler =>
      (event, context) =>
        name === 'provide-deployment'
          ? app.invoke(event as object, context)
          : functions.invoke(name, clockOf(clock), event, context);
    const cloud = await createCloud({ clock, authority: await authority, quotas: false, handlerOf });
    app.cloud = cloud;
    functions = new ComposedFunctions(cloud, central);
    await cloud.deploy(central);
    await cloud.deploy(member);
    const CallerRoleArn = isElsewhere ? await app.#deployCallerRole(roleNames, amend) : '';
    app.stack = resolved(
      'deployment-resource.yaml',
      app.account,
      {
        CertNames: certNames,
        DeploymentsApiUrl: API_URL,
        ...(isElsewhere ? { CallerRoleArn, ExternalId: EXTERNAL_ID } : {}),
      },
      amend,
    );
    await cloud.deploy(app.stack);
    cloud.services.acm.automaticRenewal = false;
    app.by = cloud.createUser(app.account, 'deployer', [
      { Statement: { Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: app.serviceToken } },
    ]);
    app.operator = cloud.createUser(CENTRAL, 'operator', ALL);
    app.certificateArn = await cloud.services.acm.add(CENTRAL, REGION, {
      names: ['www.example.com'],
      keyAlgorithm: 'EC_prime256v1',
      tags: { CertName: '+' },
    });
    return app;
  }

  async #deployCallerRole(names: string, amend: (deployed: Deployed) => Deployed): Promise<string> {
    const role = resolved(
      'docs/examples/deployment-caller-role.yaml',
      CENTRAL,
      {
        CertNames: names,
        DeploymentsApiUrl: API_URL,
        FunctionRoleName: `acm-export-provide-deployment-${REGION}`,
        FunctionAccountId: OTHER,
        ExternalId: EXTERNAL_ID,
      },
      amend,
    );
    await this.cloud.deploy(role);
    return String(role.outputs.CallerRoleArn);
  }

  get serviceToken(): string {
    return String(this.stack.outputs.ServiceToken);
  }

  /** The function as Lambda calls it, with the role and the variables of the template. */
  invoke(event: object, context: Context): Promise<unknown> {
    const { properties } = this.stack.resources.get('ProvideDeploymentFunction') as never as {
      properties: { Environment: { Variables: Record<string, string> } };
    };
    const { credentials } = this.session();
    const environment = {
      ...properties.Environment.Variables,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_SESSION_TOKEN: credentials.sessionToken ?? '',
      ...this.variables,
    };
    const clients: Pick<Clients, 'sts'> = {
      sts: () => this.cloud.client(STSClient, { region: REGION, credentials }),
    };
    const send: typeof fetch = (url, init) =>
      this.network(url as URL, init as RequestInit, () => this.cloud.fetch(url, init));
    const handle = compose(environment, clients, clockOf(this.clock), send);
    const { remaining } = this;
    return handle(
      event,
      remaining === undefined ? context : { ...context, getRemainingTimeInMillis: () => remaining },
    );
  }

  /** A session of the function's role. */
  session(): Identity {
    const role = this.stack.resources.get('ProvideDeploymentFunctionRole')?.arn ?? '';
    const session = { name: 'provide-deployment', seconds: 1e8, source: 'function provide-deployment' };
    return this.cloud.services.identities.assumeAsService('lambda.amazonaws.com', role, {}, session);
  }

  /** A session of the role in the central account, without the limits that the function gives its own. */
  callerSession(): Identity {
    const { identities } = this.cloud.services;
    const role = identities.known(String(this.stack.parameters.CallerRoleArn));
    if (!role) throw new Error('there is no role in the central account');
    return identities.openSession(role, { name: 'test', seconds: 1e8, source: 'test' });
  }

  /** Assumes that role as another caller would; resolves to the id of the key. */
  assumeCallerRole({ credentials }: Identity, ExternalId: string | undefined): Promise<string | undefined> {
    const sts = this.cloud.client(STSClient, { region: REGION, credentials, maxAttempts: 1 });
    const RoleArn = String(this.stack.parameters.CallerRoleArn);
    const input = { RoleArn, RoleSessionName: 'test', ...(ExternalId ? { ExternalId } : {}) };
    return sts.send(new AssumeRoleCommand(input)).then((answer) => answer.Credentials?.AccessKeyId);
  }

  /** A resource of a stack, as a template has it. */
  resource(properties: Record<string, unknown> = {}, logicalId = 'Web') {
    return {
      logicalId,
      type: 'Custom::CertificateDeployment',
      properties: {
        ServiceToken: this.serviceToken,
        CertName: 'web',
        CertificateArn: this.certificateArn,
        TargetTagKey: 'acm-export',
        TargetTagValue: 'web',
        ...properties,
      },
    };
  }

  /** Deploys the stack of an application with these resources, and lets everything come to rest. */
  deploy(resources: CustomStack['resources'], more: Partial<CustomStack> = {}): Promise<StackResult> {
    return this.run(async () => {
      const result = await this.cloud.services.customResources.deploy({
        account: this.account,
        region: REGION,
        stackName: 'shop',
        by: this.by,
        resources,
        ...more,
      });
      await this.cloud.idle();
      return result;
    });
  }

  /** Deletes the stack. */
  remove(more: Partial<CustomStack> = {}): Promise<StackResult> {
    const stack = { account: this.account, region: REGION, stackName: 'shop', by: this.by, ...more };
    return this.run(() => this.cloud.services.customResources.remove(stack));
  }

  /** Lambda delivers a request once more. */
  deliver(request: object): Promise<unknown> {
    const { lambda } = this.cloud.services;
    const invoke = lambda.operations['lambda.Invoke'] as (input: object, caller: object) => Promise<unknown>;
    const input = { FunctionName: this.serviceToken, Payload: JSON.stringify(request) };
    return this.run(() => invoke(input, { account: this.account, region: REGION, source: 'test' }));
  }

  /** One call of the API by a person of the central account. */
  api(method: string, route: string, body?: object, by = this.operator, region = REGION) {
    return this.run(async () => {
      const response = await this.cloud.fetchSigned(by, region, `${API_URL}${route}`, {
        method,
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      // biome-ignore lint/suspicious/noExplicitAny: each test knows the answer that it asks for
      return { status: response.status, body: (await response.json()) as any };
    });
  }

  /** What is registered: each with its order and status. */
  async deployments() {
    return (await this.api('GET', '/deployments')).body.Deployments as Record<string, unknown>[];
  }

  addNode(tag = 'web', behaviour: ScriptedNode['behaviour'] = 'installs'): Promise<ScriptedNode> {
    const id = `i-${String(this.cloud.nodes().length + 1).padStart(8, '0')}`;
    const place = { account: CENTRAL, region: REGION };
    const options = { tags: { 'acm-export': tag }, behaviour };
    return ScriptedNode.create(this.cloud, place, id, options, () => this.clock.sleep(20_000));
  }

  /** ACM renews the certificate, and its rollouts come to rest. */
  renew(): Promise<void> {
    return this.run(async () => {
      await this.cloud.services.acm.renew(this.certificateArn);
      await this.cloud.idle();
    });
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.clock.run(() => 0.5, work);
  }
}

const clockOf = (clock: VirtualClock) => ({
  now: clock.now,
  sleep: (milliseconds: number) => clock.sleep(milliseconds),
  random: () => 0.5,
});
