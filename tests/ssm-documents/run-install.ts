import { randomUUID } from 'node:crypto';
import type { CommandInvocation, NodeSpec, RunCommandOptions } from 'local-cloud/node';
import { runCommandDocument } from 'local-cloud/node';
import { loadDocuments } from '../../scripts/render.ts';
import type { Bundle } from './certificates.ts';
import type { serveSecrets } from './serve-secrets.ts';

const DEPLOYMENT = '0123456789abcdef01234567';
const SECRET = `arn:aws:secretsmanager:eu-west-1:111122223333:secret:acm-export/web/${DEPLOYMENT}-AbCdEf`;

/** As deployed: rendered, the script compact. */
const documents = loadDocuments();

export interface Install {
  invocation: CommandInvocation;
  /** The one line on standard output. */
  result: { Outcome?: string; ExitCode?: number; Serial?: string; Step?: string; Error?: string };
}

/** One install of `web` by the real script under the agent, from the document's parameters to its result line. */
export async function runInstall(
  node: NodeSpec,
  secrets: Awaited<ReturnType<typeof serveSecrets>>,
  bundle: Bundle,
  parameters: { RolloutNumber: string; [name: string]: string },
  options: RunCommandOptions,
): Promise<Install> {
  secrets.put(SECRET, bundle.versionId, bundle.value);
  const values = {
    SecretArn: SECRET,
    VersionId: bundle.versionId,
    CertName: 'web',
    DeploymentId: DEPLOYMENT,
    CorrelationId: randomUUID(),
    KeyFormat: 'decrypted',
    DryRun: 'false',
    ...parameters,
  };
  const invocation = await runCommandDocument(
    documents.installOnNode,
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [value]])),
    node,
    options,
  );
  return { invocation, result: invocation.stdout.startsWith('{') ? JSON.parse(invocation.stdout) : {} };
}

/** A Linux node with an agent of today, whose AWS calls go to the given endpoint. */
export function localNode(root: string, environment: Record<string, string>): NodeSpec {
  return {
    id: 'i-0123456789abcdef0',
    root,
    tags: {},
    platform: 'Linux',
    agentVersion: '3.3.3572.0',
    online: true,
    environment: { ACM_EXPORT_ROOT: root, ...environment },
  };
}
