import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { functionNames } from '../../scripts/build.ts';
import { loadDocuments } from '../../scripts/render.ts';
import { centralStack, memberStack, ROOT } from '../templates/stacks.ts';

test('the local cloud has none of the names that this project gives', async () => {
  const { installOnNode } = loadDocuments();
  const logicalIds = [centralStack(), memberStack()].flatMap(({ resources }) => [...resources.keys()]);
  const names = [
    JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')).name,
    'ACM_EXPORT',
    'install-on-',
    ...logicalIds,
    ...Object.keys(installOnNode.parameters).map((parameter) => `SSM_${parameter}`),
    ...['CertName', 'DeploymentId', 'RolloutNumber'],
    // One word each may mean anything.
    ...(await functionNames()).filter((name) => name.includes('-')),
  ];
  const files = globSync('packages/local-cloud/**/*.*', { cwd: ROOT, exclude: ['**/node_modules'] });
  expect(files.length).toBeGreaterThan(50);
  const found = files.flatMap((file) => {
    const text = readFileSync(path.join(ROOT, file), 'utf8');
    return names.filter((name) => text.includes(name)).map((name) => `${file}: ${name}`);
  });
  expect(found).toEqual([]);
});
