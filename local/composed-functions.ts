import './quiet.ts';
import { ACMClient } from '@aws-sdk/client-acm';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { IAMClient } from '@aws-sdk/client-iam';
import { Route53Client } from '@aws-sdk/client-route-53';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SFNClient } from '@aws-sdk/client-sfn';
import { SNSClient } from '@aws-sdk/client-sns';
import { SSMClient } from '@aws-sdk/client-ssm';
import { STSClient } from '@aws-sdk/client-sts';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { ClientOptions, Cloud, Handler, Identity } from 'local-cloud';
import type { Deployed } from 'local-cloud/templates';
import { compose as checkInstallation } from '../functions/check-installation/handler.ts';
import { compose as deploymentsApi } from '../functions/deployments-api/handler.ts';
import { compose as exportCertificate } from '../functions/export-certificate/handler.ts';
import { compose as handleRenewal } from '../functions/handle-renewal/handler.ts';
import { compose as reconcile } from '../functions/reconcile/handler.ts';
import { compose as reportCertificateNotice } from '../functions/report-certificate-notice/handler.ts';
import { compose as requestCertificate } from '../functions/request-certificate/handler.ts';
import { compose as rolloutEnded } from '../functions/rollout-ended/handler.ts';
import type { Clients } from '../functions/runtime/clients.ts';
import type { Clock } from '../functions/runtime/clock.ts';
import { compose as startInstallation } from '../functions/start-installation/handler.ts';
import { compose as writeValidationRecords } from '../functions/write-validation-records/handler.ts';

const COMPOSED = {
  'check-installation': checkInstallation,
  'deployments-api': deploymentsApi,
  'export-certificate': exportCertificate,
  'handle-renewal': handleRenewal,
  reconcile,
  'report-certificate-notice': reportCertificateNotice,
  'request-certificate': requestCertificate,
  'rollout-ended': rolloutEnded,
  'start-installation': startInstallation,
  'write-validation-records': writeValidationRecords,
};
/** A folder in functions/. */
export type FunctionName = keyof typeof COMPOSED;

/** Lambda renews a session in time. Here one lasts as long as any test. */
const SESSION_SECONDS = 10 * 365 * 86_400;

/** The functions of a central stack in this process: each acts with the role that the template gives it. */
export class ComposedFunctions {
  readonly #cloud: Cloud;
  readonly #stack: Deployed;
  readonly #credentials = new Map<FunctionName, Identity['credentials']>();

  constructor(cloud: Cloud, stack: Deployed) {
    this.#cloud = cloud;
    this.#stack = stack;
  }

  /**
   * A function as it is at its start.
   *
   * @param variables in place of the template's.
   */
  compose<Name extends FunctionName>(
    name: Name,
    clock: Clock,
    { clients = this.clients(name), variables = {} }: Partial<World> = {},
  ): ReturnType<(typeof COMPOSED)[Name]> {
    const environment = { ...this.environment(name), ...variables };
    return COMPOSED[name](environment, clients, clock) as ReturnType<(typeof COMPOSED)[Name]>;
  }

  /** One invocation, of the function in this folder of functions/: what the handlers of a local cloud do. */
  invoke(folder: string, clock: Clock, ...given: Parameters<Handler>): Promise<unknown> {
    return (this.compose(folder as FunctionName, clock) as Handler)(...given);
  }

  /** The variables that the template sets, and the Region. */
  environment(name: FunctionName): Record<string, string> {
    const { Variables } = this.#resource(name).properties.Environment;
    return { ...Variables, AWS_REGION: this.#stack.region };
  }

  /**
   * Clients without HTTP, with the role of the function.
   *
   * @param override settings in place of what the function asks for.
   */
  clients(name: FunctionName, override: Partial<ClientOptions> = {}): Clients {
    const cloud = this.#cloud;
    const own = { region: this.#stack.region, credentials: this.credentials(name) };
    const options = (config: object = {}) => ({ ...own, ...config, ...override });
    return {
      acm: (config) => cloud.client(ACMClient, options(config)),
      documents: (config) => cloud.documentClient(DynamoDBDocumentClient, options(config)),
      dns: () => cloud.publicDns.resolver,
      dynamodb: (config) => cloud.client(DynamoDBClient, options(config)),
      events: (config) => cloud.client(EventBridgeClient, options(config)),
      iam: (config) => cloud.client(IAMClient, options(config)),
      route53: (config) => cloud.client(Route53Client, options(config)),
      secretsManager: (config) => cloud.client(SecretsManagerClient, options(config)),
      sfn: (config) => cloud.client(SFNClient, options(config)),
      sns: (config) => cloud.client(SNSClient, options(config)),
      ssm: (config) => cloud.client(SSMClient, options(config)),
      sts: (config) => cloud.client(STSClient, options(config)),
    };
  }

  /** A session of the function's role, as Lambda opens it. */
  credentials(name: FunctionName): Identity['credentials'] {
    const known = this.#credentials.get(name);
    if (known) return known;
    const { properties, physicalId } = this.#resource(name);
    const session = {
      name: physicalId.slice(0, 64),
      seconds: SESSION_SECONDS,
      source: `function ${physicalId}`,
    };
    const { identities } = this.#cloud.services;
    const { credentials } = identities.assumeAsService('lambda.amazonaws.com', properties.Role, {}, session);
    this.#credentials.set(name, credentials);
    return credentials;
  }

  /** `export-certificate` is ExportCertificateFunction in the template. */
  #resource(name: FunctionName) {
    const words = name.split('-').map((word) => word.charAt(0).toUpperCase() + word.slice(1));
    const logicalId = `${words.join('')}Function`;
    const resource = this.#stack.resources.get(logicalId);
    if (!resource) throw new Error(`The stack has no ${logicalId}.`);
    return resource;
  }
}

interface World {
  clients: Clients;
  variables: Record<string, string>;
}
