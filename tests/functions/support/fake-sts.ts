import { awsError, FakeService } from './fake-service.ts';

/** AssumeRole into accounts whose member stack trusts us. */
export class FakeSts extends FakeService {
  readonly refused = new Set<string>();

  AssumeRole({ RoleArn, ExternalId, Policy }: { RoleArn: string; ExternalId: string; Policy: string }) {
    const account = RoleArn.split(':')[4] as string;
    if (this.refused.has(account) || ExternalId !== 'only-for-these-tests') {
      throw awsError('AccessDenied', `User is not authorized to perform: sts:AssumeRole on ${RoleArn}`);
    }
    // The plain-text limit of a session policy (STS API reference).
    if (Policy.length > 2048) {
      throw awsError('PackedPolicyTooLargeException', 'The session policy is too large.');
    }
    return { Credentials: { AccessKeyId: account, SecretAccessKey: 'secret', SessionToken: 'token' } };
  }
}
