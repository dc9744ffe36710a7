/**
 * The `aws` command of a local node: the few calls that the install script makes, by the same SDK that the
 * functions use, with the node's credentials (environment, shared credentials file, then IMDS: the order of
 * the AWS CLI). Whatever else is asked of it is refused, so that a script cannot rely on what was not checked
 * against the real CLI.
 */

import { parseArgs } from 'node:util';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';

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
        'cli-connect-timeout': { type: 'string' },
        'cli-read-timeout': { type: 'string' },
        'no-cli-pager': { type: 'boolean' },
      },
    });
  } catch (error) {
    return fail(EXIT.usage, `aws: error: ${error instanceof Error ? error.message : error}`);
  }
}

const { positionals, values } = parse();
const seconds = (text: string | undefined) => (text === undefined ? undefined : Number(text) * 1000);
const timeouts = {
  connectionTimeout: seconds(values['cli-connect-timeout']),
  requestTimeout: seconds(values['cli-read-timeout']),
};
const configuration = {
  ...(values.region ? { region: values.region } : {}),
  requestHandler: Object.fromEntries(Object.entries(timeouts).filter(([, value]) => value !== undefined)),
};

/** Every command by the words of the CLI: the API's name for it in messages, and the call. */
const COMMANDS: Record<string, { operation: string; call: () => Promise<object> }> = {
  'secretsmanager get-secret-value': {
    operation: 'GetSecretValue',
    call: () =>
      new SecretsManagerClient(configuration).send(
        new GetSecretValueCommand({ SecretId: values['secret-id'], VersionId: values['version-id'] }),
      ),
  },
  'sts get-caller-identity': {
    operation: 'GetCallerIdentity',
    call: () => new STSClient(configuration).send(new GetCallerIdentityCommand({})),
  },
};

const command = COMMANDS[positionals.join(' ')];
if (!command) fail(EXIT.usage, `aws: error: not modelled on a local node: ${positionals.join(' ')}`);
if (values.output !== 'text' || !/^\w+$/.test(values.query ?? '')) {
  fail(EXIT.usage, 'aws: error: a local node knows --output text with one name as --query only');
}

try {
  const answer = await command.call();
  process.stdout.write(`${(answer as Record<string, unknown>)[values.query ?? ''] ?? 'None'}\n`);
} catch (error) {
  report(error, command.operation);
}

/** The AWS CLI's wording, which administrators know and scripts match. */
function report(error: unknown, operation: string): never {
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
      `An error occurred (${name}) when calling the ${operation} operation${exhausted}: ${message}`,
    );
  }
  const endpoint = process.env.AWS_ENDPOINT_URL ?? 'of the Region';
  fail(EXIT.general, `Could not connect to the endpoint URL: "${endpoint}" (${code ?? name}: ${message})`);
}
