import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';

const FUNCTIONS = path.resolve(import.meta.dirname, '../../functions');
/** Lambda sets its own variables before it loads the file. */
const IN_LAMBDA = {
  AWS_LAMBDA_FUNCTION_NAME: 'acm-export-check-installation',
  AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
  POWERTOOLS_METRICS_NAMESPACE: 'acm-export',
};

/** What code prints as JSON that runs in functions/, in a process of its own: modules read variables when they are loaded. */
async function printed(code: string, variables: Record<string, string> = {}): Promise<unknown> {
  const { NODE_COMPILE_CACHE } = process.env;
  const env = { LOG_LEVEL: 'SILENT', ...(NODE_COMPILE_CACHE && { NODE_COMPILE_CACHE }), ...variables };
  const options = { cwd: FUNCTIONS, env };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', code],
    options,
  );
  return JSON.parse(stdout);
}

test('outside Lambda a handler can be imported for its compose, whatever the environment', async () => {
  const code = `const { compose, handler } = await import('./check-installation/handler.ts');
    console.log(JSON.stringify([typeof compose, typeof handler]));`;
  expect(await printed(code)).toEqual(['function', 'undefined']);
});

test('in Lambda a function without its variables does not start, and names them all', async () => {
  const code = `const error = await import('./check-installation/handler.ts').catch((error) => error);
    console.log(JSON.stringify(error.message));`;
  expect(await printed(code, IN_LAMBDA)).toMatch(
    /^Missing environment variables: INVENTORY_TABLE .*, STATE_MACHINE_ARN .*, EXTERNAL_ID \(/,
  );
});

test('in Lambda every client is traced, whatever its configuration', async () => {
  const code = `
    const { inLambda } = await import('./runtime/in-lambda.ts');
    const { documents, ssm, sts } = await import('./runtime/clients.ts');
    const made = [];
    inLambda((_environment, clients) => {
      made.push(clients.documents(), clients.sts({ maxAttempts: 1 }), clients.ssm({ region: 'eu-west-3' }));
      return async () => ({});
    }, { documents, ssm, sts });
    const isTraced = ({ middlewareStack }) => middlewareStack.identify().join().includes('XRaySDKInstrumentation');
    const others = isTraced(ssm({ region: 'eu-west-3' }));
    console.log(JSON.stringify({ traced: made.map(isTraced), others, region: await made[2].config.region() }));`;
  expect(await printed(code, { ...IN_LAMBDA, AWS_REGION: 'eu-west-1' })).toEqual({
    traced: [true, true, true],
    others: false,
    region: 'eu-west-3',
  });
});
