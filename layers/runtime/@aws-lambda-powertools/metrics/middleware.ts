export { logMetrics } from '@aws-lambda-powertools/metrics/middleware';
