export { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
