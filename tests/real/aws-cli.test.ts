import { installsWith } from '../ssm-documents/aws-cli.ts';
import { needs } from '../support/needs.ts';
import { realAwsCli } from '../support/tools.ts';

needs('aws').describe('with the AWS CLI', () => installsWith(realAwsCli()));
