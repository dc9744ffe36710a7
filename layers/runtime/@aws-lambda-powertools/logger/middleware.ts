export { injectLambdaContext } from '@aws-lambda-powertools/logger/middleware';
