import type { Context } from 'aws-lambda';
import { publicResolver } from '../dns/resolver.ts';
import { RetryLater } from '../domain/errors.ts';
import { NOTIFIER_VARIABLES, notifierFrom } from '../notifications/notifier.ts';
import { ADVANCE_VARIABLES, advanceDepsFrom } from '../rollouts/advance.ts';
import {
  acm,
  type Clients,
  dns,
  documents,
  dynamodb,
  iam,
  PATIENT,
  secretsManager,
  sfn,
  sns,
  ssm,
  sts,
} from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { count, gauge } from '../runtime/observability.ts';
import { connectTargetFrom, TARGET_VARIABLES } from '../target-account/session.ts';
import { showHealth } from './fleet-health.ts';
import { ReconcileEvent, reconcile } from './reconcile.ts';

type OwnClients = Pick<
  Clients,
  'acm' | 'dns' | 'documents' | 'dynamodb' | 'iam' | 'secretsManager' | 'sfn' | 'sns' | 'ssm' | 'sts'
>;

/**
 * Repairs what events missed, and shows how the fleet is.
 *
 * @throws RetryLater when nothing of the inventory could be read (in the first minute of a stack its table is still being
 *   made), and when certificates could not be compared, whose next sweep comes in an hour: Lambda calls again after one and
 *   two minutes.
 */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    [
      ...ADVANCE_VARIABLES,
      ...TARGET_VARIABLES,
      ...NOTIFIER_VARIABLES,
      'REQUEST_STATE_MACHINE_ARN',
      'NODE_RETENTION_DAYS',
      'REMINDER_DAYS',
      'LOOK_INTERVAL_MINUTES',
      'HYBRID_LOOK_INTERVAL_MINUTES',
      'DISCOVER_ENDPOINTS',
    ],
    environment,
  );
  const target = { functionName: 'reconcile' };
  const deps = {
    ...advanceDepsFrom(env, clients, clock),
    acm: clients.acm(PATIENT),
    resolver: publicResolver(clients.dns()),
    sleep: clock.sleep,
    connectTarget: connectTargetFrom(env, clients, target, (session) => ({
      iam: clients.iam(session),
      ssm: clients.ssm(session),
      secretsManager: clients.secretsManager(session),
    })),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    requestStateMachineArn: env.REQUEST_STATE_MACHINE_ARN,
    nodeRetentionDays: Number(env.NODE_RETENTION_DAYS),
    reminderDays: Number(env.REMINDER_DAYS),
    lookMinutes: {
      ec2: Number(env.LOOK_INTERVAL_MINUTES),
      hybrid: Number(env.HYBRID_LOOK_INTERVAL_MINUTES),
    },
    discover: env.DISCOVER_ENDPOINTS !== 'no',
    tellOfEndpoints: env.DISCOVER_ENDPOINTS === 'tell',
  };
  const notifier = notifierFrom(env, clients);
  return async (event: object, context: Context) => {
    const { Task } = ReconcileEvent.parse(event);
    const pass = await reconcile(Task, {
      ...deps,
      correlationId: context.awsRequestId,
      // One message a cause and day.
      notify: async (key, notification) => {
        const day = clock.now().toISOString().slice(0, 10);
        await notifier(context)(`${key}#${day}`, notification);
      },
    });
    count('RolloutRepaired', pass.Repaired + pass.Started);
    count('ReconcileFailed', pass.Faults);
    if (Task === 'certificates' && !pass.MustRepeat) {
      count('CertificatesCompared');
    }
    if (Task === 'nodes') {
      gauge('DriftedNodes', pass.Drifted);
      gauge('UnseenNodes', pass.Unseen);
    }
    if (pass.Health) {
      showHealth(pass.Health);
    }
    if (pass.MustRepeat) {
      throw new RetryLater(`Parts of the fleet that could not be looked at: ${pass.Errors}`);
    }
    return pass;
  };
}

export const handler = inLambda(compose, {
  acm,
  dns,
  documents,
  dynamodb,
  iam,
  secretsManager,
  sfn,
  sns,
  ssm,
  sts,
});
