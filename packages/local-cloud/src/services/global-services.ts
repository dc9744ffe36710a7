/**
 * Where a service is that has one endpoint for all Regions. A call is made there, whatever Region the client has: with an
 * endpoint of its own the SDK signs for the client's Region, as AWS would not accept it (General Reference, "Route 53
 * endpoints and quotas": us-east-1; AWS China, "Endpoints and ARNs": cn-northwest-1).
 */
const homes: Record<string, Record<string, string>> = {
  route53: { aws: 'us-east-1', 'aws-cn': 'cn-northwest-1', 'aws-us-gov': 'us-gov-west-1' },
};

/** The Region in which an operation runs, where that is not the one of the client. */
export const homeOf = (operation: string, partition: string): string | undefined =>
  homes[operation.split('.')[0] ?? '']?.[partition];
