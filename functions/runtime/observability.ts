import { Logger } from '@aws-lambda-powertools/logger';
import { injectLambdaContext } from '@aws-lambda-powertools/logger/middleware';
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import { logMetrics } from '@aws-lambda-powertools/metrics/middleware';
import { Tracer } from '@aws-lambda-powertools/tracer';
import { captureLambdaHandler } from '@aws-lambda-powertools/tracer/middleware';
import middy from '@middy/core';
import type { Context } from 'aws-lambda';

/** One of each a function, as Powertools wants it; configured by POWERTOOLS_* and LOG_LEVEL. */
export const logger = new Logger();
// Metrics warns of every invocation that counts nothing, beside the log's format: that is no fault here.
export const metrics = new Metrics({
  logger: {
    debug: (text: string) => logger.debug(text),
    info: (text: string) => logger.info(text),
    warn: (text: string) => logger.debug(text),
    error: (text: string) => logger.error(text),
  },
});
const tracer = new Tracer();

/** Fields that every log line of a rollout carries, where the event has them. */
const LOGGED_FIELDS = [
  'CorrelationId',
  'DeploymentId',
  'RolloutNumber',
  'CertName',
  'CertificateArn',
  'ExecutionName',
] as const;

/** What functions log of every rollout, refusal and fault, as the searches in docs/operations.md find it. */
export const LOGGED = {
  rolloutStarted: 'Rollout started',
  refused: 'Refused',
  reconcileFailed: 'Reconcile failed for',
} as const;

/** The ends of installations, which start-installation and check-installation count. */
const INSTALLATION_ENDS = [
  'CertificateInstalled',
  'CertificateInstalledInPart',
  'NodesAwaited',
  'InstallationFailed',
] as const;

/** Every metric, by the function that publishes it. */
export const METRICS = {
  'deployments-api': ['RequestAccepted', 'RequestRefused', 'CallDenied'],
  'handle-renewal': ['RenewalStarted'],
  'start-installation': ['InstallationStarted', ...INSTALLATION_ENDS],
  'check-installation': ['InstallationPolled', ...INSTALLATION_ENDS],
  'rollout-ended': ['FailureReported'],
  'report-certificate-notice': ['NoticeReported'],
  reconcile: [
    'RolloutRepaired',
    'ReconcileFailed',
    'CertificatesCompared',
    'InstalledDeployments',
    'DegradedDeployments',
    'WaitingDeployments',
    'FailedDeployments',
    'OldestOpenFailureAge',
    'DaysToExpiry',
    'NearExpiryDeployments',
    'DriftedNodes',
    'UnseenNodes',
  ],
} as const;

export type MetricName = (typeof METRICS)[keyof typeof METRICS][number];

/** Records the calls of an AWS client as X-Ray subsegments. */
export function traced<T>(client: T): T {
  return tracer.captureAWSv3Client(client);
}

/** Counts something that happened. */
export function count(name: MetricName, value = 1): void {
  metrics.addMetric(name, MetricUnit.Count, value);
}

/** Shows how something is now: look at minimum or maximum, never at a sum. */
export function gauge(name: MetricName, value: number, unit: 'Count' | 'Seconds' = 'Count'): void {
  metrics.addMetric(name, MetricUnit[unit], value);
}

/** Adds the rollout's fields to every further log line of this invocation; an event may be anything. */
export function logFields(source: unknown): void {
  const fields: Record<string, unknown> = Object(source);
  const found = LOGGED_FIELDS.filter((name) => isShort(fields[name]));
  logger.appendKeys(Object.fromEntries(found.map((name) => [name, fields[name]])));
}

/** An ARN of a certificate is the longest of these fields. */
const isShort = (value: unknown) =>
  typeof value === 'number' || (typeof value === 'string' && value.length <= 200);

/**
 * A Lambda handler with logs, traces and metrics. Neither event nor response is logged or traced, so that no
 * later field can leak through them.
 */
export function withObservability<E extends object, R>(handle: (event: E, context: Context) => Promise<R>) {
  return middy<E, R>()
    .use(captureLambdaHandler(tracer, { captureResponse: false }))
    .use(injectLambdaContext(logger, { resetKeys: true, logEvent: false }))
    .use(logMetrics(metrics, { captureColdStartMetric: true }))
    .handler(async (event: E, context: Context) => {
      logFields(event);
      try {
        return await handle(event, context);
      } catch (error) {
        logger.error('Failed', error as Error);
        throw error;
      }
    });
}
