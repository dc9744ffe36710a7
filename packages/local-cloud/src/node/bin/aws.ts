/**
 * The `aws` command of a local node: one call, made by the AWS SDK with the node's credentials (environment, shared
 * credentials file, then IMDS: the order of the AWS CLI). Whatever else is asked of it is refused, so that a script
 * cannot rely on what was not checked against the real CLI.
 */

import { parseArgs } from 'node:util';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

const COMMAND = 'secretsmanager get-secret-value';

/** Exit codes as the AWS CLI user guide lists them under "Return codes". */
const EXIT = { service: 254, configuration: 253, usage: 252, general: 255 };

function fail(code: number, message: string): never {
  process.stderr.write(`\n${message}\n`);
  process.exit(code);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        'secret-id': { type: 'string' },
        'version-id': { type: 'string' },
        region: { type: 'string' },
        query: { type: 'string' },
        output: { type: 'string' },
      },
    });
  } catch (error) {
    return fail(EXIT.usage, `aws: error: ${error instanceof Error ? error.message : error}`);
  }
}

const { positionals, values } = parse();
if (positionals.join(' ') !== COMMAND || values.query !== 'SecretString' || values.output !== 'text') {
  fail(EXIT.usage, `aws: error: a local node knows "${COMMAND} --query SecretString --output text" only`);
}

try {
  // Handed on to where credentials come from: the metadata service here is as slow as this machine may be.
  const patience = { timeout: 60_000, maxRetries: 3 };
  const client = new SecretsManagerClient({
    ...patience,
    ...(values.region ? { region: values.region } : {}),
  });
  const { SecretString } = await client.send(
    new GetSecretValueCommand({ SecretId: values['secret-id'], VersionId: values['version-id'] }),
  );
  process.stdout.write(`${SecretString ?? 'None'}\n`);
} catch (error) {
  report(error);
}

/** The AWS CLI's wording, which administrators know and scripts match. */
function report(error: unknown): never {
  const { name, message, code, $metadata } = error as Error & {
    code?: string;
    $metadata?: { httpStatusCode?: number; attempts?: number };
  };
  if (name === 'CredentialsProviderError') {
    fail(
      EXIT.configuration,
      'Unable to locate credentials. You can configure credentials by running "aws configure".',
    );
  }
  if (message.includes('Region is missing')) {
    fail(
      EXIT.configuration,
      'You must specify a region. You can also configure your region by running "aws configure".',
    );
  }
  if ($metadata?.httpStatusCode !== undefined) {
    const retries = ($metadata.attempts ?? 1) - 1;
    const exhausted = retries > 0 ? ` (reached max retries: ${retries})` : '';
    fail(
      EXIT.service,
      `An error occurred (${name}) when calling the GetSecretValue operation${exhausted}: ${message}`,
    );
  }
  const endpoint = process.env.AWS_ENDPOINT_URL ?? 'of the Region';
  fail(EXIT.general, `Could not connect to the endpoint URL: "${endpoint}" (${code ?? name}: ${message})`);
}
