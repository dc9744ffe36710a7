import { CloudFormationClient, DescribeStacksCommand } from '@aws-sdk/client-cloudformation';
import { Stop } from './exit.ts';
import { awsFault } from './faults.ts';
import type { AwsSettings } from './world.ts';

/** Outputs of a stack. @throws Stop where there is none, or it may not be read. */
export async function readOutputs(
  settings: AwsSettings,
  stack: string,
  profile: string | undefined,
): Promise<Record<string, string>> {
  const client = new CloudFormationClient(settings);
  try {
    const { Stacks = [] } = await client.send(new DescribeStacksCommand({ StackName: stack }));
    const outputs = Stacks[0]?.Outputs ?? [];
    return Object.fromEntries(
      outputs.map(({ OutputKey = '', OutputValue = '' }) => [OutputKey, OutputValue]),
    );
  } catch (error) {
    // "If the stack doesn't exist, a ValidationError is returned" (API reference, DescribeStacks).
    if ((error as Error).name === 'ValidationError') {
      throw new Stop(
        'failed',
        `There is no stack ${stack} in ${settings.region}, in the account of these credentials.`,
        'Name the stack with --stack and its Region with --region, or the API itself with --endpoint.',
        'Nothing is deployed yet? docs/guide.md says how.',
      );
    }
    throw awsFault(error, 'cloudformation:DescribeStacks', `the stack ${stack}`, profile);
  }
}
