import { App, CfnOutput, Duration, Stack } from 'aws-cdk-lib';
import { CertificateDeployment } from './certificate-deployment.ts';

const app = new App();
const stack = new Stack(app, 'Shop', { description: 'The web servers of the shop' });

const certificate = new CertificateDeployment(stack, 'Certificate', {
  CertName: 'web',
  CertificateArn: 'arn:aws:acm:eu-central-1:111122223333:certificate/11112222-3333-4444-5555-666677778888',
  TargetTagKey: 'acm-export',
  TargetTagValue: 'web-prod',
  ReloadServices: ['nginx'],
  VerifyPort: 443,
  wait: Duration.minutes(5),
});

new CfnOutput(stack, 'CertificateStatus', { value: certificate.status });
app.synth();
