import { CustomResource, Duration, Fn } from 'aws-cdk-lib';
import { Construct } from 'constructs';

/** The fields of an order, as docs/guide.md explains them. What is left out has its default. */
export interface DeploymentOrder {
  CertName: string;
  CertificateArn: string;
  TargetTagKey: string;
  TargetTagValue: string;
  TargetAccount?: string;
  TargetRegion?: string;
  ReloadServices?: string[];
  RestartServices?: string[];
  VerifyPort?: number;
  VerifyName?: string;
  VerifyProtocol?: 'imap' | 'pop3' | 'smtp' | 'ftp' | 'ldap' | 'postgres' | 'mysql';
  KeyFormat?: 'decrypted' | 'encrypted';
  ExtraFormats?: ('combined-pem' | 'pkcs12')[];
  KeyMode?: '0400' | '0440' | '0600' | '0640';
  KeyGroup?: string;
  TakeOver?: boolean;
  MaxConcurrency?: string;
  MaxErrors?: string;
  Delivery?: 'nodes' | 'secret';
  ReaderRoleArns?: string[];
  ExcludeNodeIds?: string[];
  BundleFormats?: 'pkcs12'[];
}

export interface CertificateDeploymentProps extends DeploymentOrder {
  /** How long the stack waits for the rollout: up to 840 seconds. 0 does not wait. */
  readonly wait?: Duration;
  /** Takes a deployment over that something else has registered. This stack then never deletes it. */
  readonly adopt?: boolean;
  /** Prefix of the stack of deployment-resource.yaml in this account and Region. */
  readonly prefix?: string;
}

/** A certificate of ACM on every server with a tag, registered with acm-export. */
export class CertificateDeployment extends Construct {
  readonly deploymentId: string;
  readonly status: string;
  readonly resource: CustomResource;

  constructor(scope: Construct, id: string, props: CertificateDeploymentProps) {
    super(scope, id);
    const { wait = Duration.minutes(10), adopt = false, prefix = 'acm-export', ...order } = props;
    this.resource = new CustomResource(this, 'Resource', {
      resourceType: 'Custom::CertificateDeployment',
      serviceToken: Fn.importValue(`${prefix}-certificate-deployment`),
      // After this CloudFormation gives up: a minute after the function has answered.
      serviceTimeout: wait.plus(Duration.minutes(1)),
      properties: { ...order, WaitSeconds: wait.toSeconds(), ...(adopt ? { Adopt: true } : {}) },
    });
    this.deploymentId = this.resource.getAttString('DeploymentId');
    this.status = this.resource.getAttString('Status');
  }
}
