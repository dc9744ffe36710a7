import { describe } from '@jest/globals';
import { installsWith } from './aws-cli.ts';

// With the AWS CLI itself: tests/real/aws-cli.test.ts.

describe('with the shim', () => installsWith());
