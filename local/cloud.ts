import { join } from 'node:path';
import type { Cloud, CodeOf, Handler, Identity, Stack } from 'local-cloud';
import * as localCloud from 'local-cloud';

const PROJECT = join(import.meta.dirname, '..');

/** What of this project the local cloud runs. */
interface Code {
  /** Where `make build` put functions/ and layer/. Default: build/ in the project. */
  buildFolder?: string;
  /** Handlers in this process in place of the built ones, by their folder in functions/. */
  handlerOf?: (folder: string) => Handler;
}
type General<Options> = Omit<Options, 'codeOf' | 'scriptVariables'>;
export type WorldOptions = Code & General<localCloud.WorldOptions>;
export type CloudOptions = Code & General<localCloud.CloudOptions>;

export interface CentralStack extends Stack {
  /** URL of the API: routes follow. */
  apiUrl: string;
  stateMachineArn: string;
}

/** The template is one of the project's two. */
export interface DeployOptions extends Omit<localCloud.DeployOptions, 'stackName'> {
  /** Default: the Prefix and which of the two stacks it is. */
  stackName?: string;
}

/** The local cloud in this process, with the functions of this project. */
export const createCloud = (options: WorldOptions = {}): Promise<Cloud> =>
  localCloud.createCloud(withOurs(options));

/** The local cloud behind HTTP, with the functions of this project. */
export const startCloud = (options: CloudOptions = {}): Promise<Cloud> =>
  localCloud.startCloud(withOurs(options));

function withOurs<Options extends object>({
  buildFolder = join(PROJECT, 'build'),
  handlerOf,
  ...options
}: Code & Options) {
  const codeOf: CodeOf = ({ logicalId, handler }) => {
    // ExportCertificateFunction is built to build/functions/export-certificate (functions/Makefile).
    const folder = logicalId
      .replace(/Function$/, '')
      .replace(/(?<!^)([A-Z])/g, '-$1')
      .toLowerCase();
    const file = join(buildFolder, 'functions', folder, `${handler.split('.')[0]}.mjs`);
    return handlerOf?.(folder) ?? { file, layerFolder: join(buildFolder, 'layer') };
  };
  // The install script asks for its root here; on a real server the variable is not set.
  const scriptVariables = (root: string) => ({ ACM_EXPORT_ROOT: root });
  return { ...options, codeOf, scriptVariables };
}

export async function deployCentral(cloud: Cloud, options: DeployOptions): Promise<CentralStack> {
  const stack = await deploy(cloud, 'template.yaml', 'central', options);
  return {
    ...stack,
    apiUrl: stack.urlOf('DeploymentsApi'),
    stateMachineArn: stack.resource('CertificateRolloutStateMachine').arn ?? '',
  };
}

export const deployMember = (cloud: Cloud, options: DeployOptions): Promise<Stack> =>
  deploy(cloud, 'member-account.yaml', 'member', options);

export const deployDns = (cloud: Cloud, options: DeployOptions): Promise<Stack> =>
  deploy(cloud, 'dns-account.yaml', 'dns', options);

const deploy = (cloud: Cloud, file: string, kind: string, options: DeployOptions): Promise<Stack> =>
  cloud.deployTemplate(join(PROJECT, file), {
    stackName: `${options.parameters?.Prefix ?? 'acm-export'}-${kind}`,
    ...options,
  });

/** A user that may request, tag, describe, renew and revoke certificates, not export them. */
export function createCertificateAdmin(cloud: Cloud, account: string): Identity {
  const verbs = ['Request', 'Describe', 'Renew', 'Revoke'].map((verb) => `acm:${verb}Certificate`);
  const Action = [...verbs, 'acm:ListCertificates', 'acm:ListTagsForCertificate', 'acm:AddTagsToCertificate'];
  return cloud.createUser(account, 'certificate-admin', [
    { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action, Resource: '*' }] },
  ]);
}
