import { GetRoleCommand } from '@aws-sdk/client-iam';
import type { Deployment } from '../domain/deployment.ts';
import { isDenial, isNamed } from '../domain/errors.ts';
import { type ConnectTarget, targetArns } from './session.ts';

/**
 * Looks whether the member stack of a deployment's account and Region has a role that writes bundles: then it is of this
 * edition.
 *
 * @returns what AWS says where it has none, or does not let that be seen, as one of the first edition does.
 */
export async function lackOfBundleWriter(
  deployment: Deployment,
  deps: { connectTarget: ConnectTarget<'iam'>; prefix: string; partition: string },
): Promise<string | undefined> {
  const { bundleWriterRole: arn } = targetArns(deps, deployment);
  const { iam } = await deps.connectTarget(deployment, [
    { Effect: 'Allow', Action: ['iam:GetRole'], Resource: arn },
  ]);
  try {
    await iam.send(new GetRoleCommand({ RoleName: arn.slice(arn.lastIndexOf('/') + 1) }));
    return undefined;
  } catch (error) {
    if (isNamed(error, 'NoSuchEntityException') || isDenial(error)) {
      return error.message;
    }
    throw error;
  }
}
