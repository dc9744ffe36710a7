import type { Context } from 'aws-lambda';
import type { ClientConfig, Clients } from './clients.ts';
import { type Clock, systemClock } from './clock.ts';
import type { Environment } from './environment.ts';
import { traced, withObservability } from './observability.ts';

/** Builds a function from the world in which it runs. */
type Compose<C, E, R> = (
  environment: Environment,
  clients: C,
  clock: Clock,
) => (event: E, context: Context) => Promise<R>;

/**
 * The handler that Lambda calls: the composed function with logs, metrics and traces, over clients whose calls are
 * traced. It is composed while Lambda loads the file, so that a missing variable fails the start and not an event.
 *
 * @param clients makes the clients of the function.
 * @returns undefined outside Lambda, where a test imports the file for its `compose` and nothing may be read. Lambda sets
 *   AWS_LAMBDA_FUNCTION_NAME (developer guide, "Defined runtime environment variables"), and so does `sam local`.
 */
export function inLambda<C extends Partial<Clients>, E extends object, R>(
  compose: Compose<C, E, R>,
  clients: C,
) {
  return process.env.AWS_LAMBDA_FUNCTION_NAME === undefined
    ? undefined
    : withObservability(compose(process.env, withTraces(clients), systemClock));
}

function withTraces<C extends Partial<Clients>>(clients: C): C {
  const factories = Object.entries(clients).map(([name, make]) => [
    name,
    (config?: ClientConfig) => {
      const client = make(config);
      // That of DNS is none of the SDK.
      return 'middlewareStack' in client ? traced(client) : client;
    },
  ]);
  return Object.fromEntries(factories);
}
