import type { Cloud } from 'local-cloud';
import type { Deployed } from 'local-cloud/templates';

/**
 * Updates the documents and roles of a stack that is deployed: all of a member stack that its lists change. The local
 * cloud has no updates of stacks. A document gets a new version, which becomes the default one (UpdateMethod NewVersion).
 */
export function updateStack(cloud: Cloud, { account, region, resources }: Deployed): void {
  const { ssmDocuments, identities } = cloud.services;
  for (const { type, physicalId, arn = '', properties } of resources.values()) {
    if (type === 'AWS::SSM::Document') {
      const { DocumentType, Content } = properties;
      ssmDocuments.create(account, region, { name: physicalId, type: DocumentType, content: Content });
    }
    if (type === 'AWS::IAM::ManagedPolicy') {
      const { PolicyDocument: document } = properties;
      identities.putManagedPolicy(physicalId, typeof document === 'string' ? JSON.parse(document) : document);
    }
    const role = type === 'AWS::IAM::Role' ? identities.role(arn) : undefined;
    if (role) {
      role.inlinePolicies = properties.Policies.map(
        ({ PolicyDocument }: { PolicyDocument: object }) => PolicyDocument,
      );
      role.managedPolicyArns = properties.ManagedPolicyArns ?? [];
    }
  }
}
