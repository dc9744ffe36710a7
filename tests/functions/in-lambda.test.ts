import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { Clients } from '../../functions/runtime/clients.ts';

const before = process.env;
beforeEach(() => {
  jest.resetModules();
  process.env = { ...before, LOG_LEVEL: 'SILENT' };
});
afterEach(() => {
  process.env = before;
});

/** As Lambda does: first its own variables, then the file. */
function startInLambda(): void {
  Object.assign(process.env, {
    AWS_LAMBDA_FUNCTION_NAME: 'acm-export-check-installation',
    AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
    POWERTOOLS_METRICS_NAMESPACE: 'acm-export',
  });
}

describe('outside Lambda', () => {
  test('a handler can be imported for its compose, whatever the environment', async () => {
    const { compose, handler } = await import('../../functions/check-installation/handler.ts');
    expect(compose).toBeInstanceOf(Function);
    expect(handler).toBeUndefined();
  });
});

describe('in Lambda', () => {
  beforeEach(startInLambda);

  test('a function without its variables does not start, and names them all', async () => {
    await expect(import('../../functions/check-installation/handler.ts')).rejects.toThrow(
      /^Missing environment variables: INVENTORY_TABLE .*, STATE_MACHINE_ARN .*, EXTERNAL_ID \(/,
    );
  });

  test('every client is traced, whatever its configuration', async () => {
    const { inLambda } = await import('../../functions/runtime/in-lambda.ts');
    const { documents, ssm, sts } = await import('../../functions/runtime/clients.ts');
    const given = { documents, ssm, sts };
    const made: ReturnType<Clients[keyof typeof given]>[] = [];
    inLambda((_environment, clients: typeof given) => {
      made.push(clients.documents(), clients.sts({ maxAttempts: 1 }), clients.ssm({ region: 'eu-west-3' }));
      return async () => ({});
    }, given);
    expect(await made[2]?.config.region()).toBe('eu-west-3');
    for (const { middlewareStack } of made) {
      expect(middlewareStack.identify().join()).toContain('XRaySDKInstrumentation');
    }
    expect(ssm().middlewareStack.identify().join()).not.toContain('XRaySDKInstrumentation');
  });
});
