import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { DeploymentBody } from '../../functions/domain/order.ts';
import { Application } from '../functions/support/application.ts';
import { needs } from '../support/needs.ts';
import { cdkModules } from '../support/tools.ts';
import { ROOT } from '../templates/stacks.ts';

const run = promisify(execFile);
const EXAMPLE = path.join(ROOT, 'docs/examples/cdk');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'cdk-'));
  for (const file of ['app.ts', 'certificate-deployment.ts', 'package.json']) {
    cpSync(path.join(EXAMPLE, file), path.join(folder, file));
  }
  const modules = cdkModules();
  if (modules) symlinkSync(modules, path.join(folder, 'node_modules'));
});
afterAll(() => rmSync(folder, { recursive: true }));

needs('cdk')('the example of the CDK has the right types, and knows every field of an order', async () => {
  const words = [
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--module',
    'nodenext',
    '--ignoreConfig',
    '--types',
    '',
  ];
  await run(
    path.join(ROOT, 'node_modules/.bin/tsc'),
    [...words, '--allowImportingTsExtensions', path.join(folder, 'app.ts')],
    { cwd: folder },
  );
  const text = readFileSync(path.join(EXAMPLE, 'certificate-deployment.ts'), 'utf8');
  const declared = /interface DeploymentOrder \{(.*?)\n\}/s.exec(text)?.[1] ?? '';
  const fields = Object.keys(DeploymentBody.shape).filter((name) => name !== 'DryRun');
  expect([...declared.matchAll(/^ {2}(\w+)\??:/gm)].map(([, name]) => name).sort()).toEqual(fields.sort());
});

needs('cdk')('the stack that the example makes is deployed, and registers the certificate', async () => {
  await run(process.execPath, ['app.ts'], {
    cwd: folder,
    env: { ...process.env, CDK_OUTDIR: path.join(folder, 'out') },
  });
  const template = JSON.parse(readFileSync(path.join(folder, 'out/Shop.template.json'), 'utf8'));
  const [[logicalId, resource]] = Object.entries(template.Resources) as [
    [string, { Type: string; Properties: Record<string, unknown> }],
  ];
  expect(Object.keys(template.Resources)).toEqual([logicalId]);
  expect(resource).toMatchObject({
    Type: 'Custom::CertificateDeployment',
    Properties: {
      ServiceToken: { 'Fn::ImportValue': 'acm-export-certificate-deployment' },
      CertName: 'web',
      TargetTagValue: 'web-prod',
      ReloadServices: ['nginx'],
      VerifyPort: 443,
      WaitSeconds: 300,
    },
  });
  expect(template.Outputs.CertificateStatus.Value).toEqual({ 'Fn::GetAtt': [logicalId, 'Status'] });

  const app = await Application.create();
  await app.addNode('web-prod');
  // What CloudFormation makes of Fn::ImportValue; the certificate is one that is here.
  const filled = { ServiceToken: app.serviceToken, CertificateArn: app.certificateArn };
  const properties = { ...resource.Properties, ...filled };
  const { status, reasons, resources } = await app.deploy([{ logicalId, type: resource.Type, properties }]);
  expect([status, reasons]).toEqual(['CREATE_COMPLETE', []]);
  expect(resources.get(logicalId)?.data.Status).toBe('INSTALLED');
  expect(await app.deployments()).toMatchObject([
    { CertName: 'web', TargetTagValue: 'web-prod', VerifyPort: 443 },
  ]);
  await app.cloud.stop();
});
