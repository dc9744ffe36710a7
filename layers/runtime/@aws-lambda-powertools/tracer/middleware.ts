export { captureLambdaHandler } from '@aws-lambda-powertools/tracer/middleware';
