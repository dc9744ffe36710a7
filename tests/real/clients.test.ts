import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { localSession } from '../support/local-session.ts';
import { needs } from '../support/needs.ts';
import { programOf, pythonWith } from '../support/tools.ts';
import { ROOT } from '../templates/stacks.ts';

// What others make of docs/openapi.yaml works, against the API of `make local`.

const run = promisify(execFile);
const session = localSession();
const OPENAPI = path.join(ROOT, 'docs/openapi.yaml');
const CLIENTS = path.join(import.meta.dirname, 'clients');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(ROOT, 'node_modules/.cache/clients-'));
});
afterAll(() => rm(folder, { recursive: true }));

needs('openapiPythonClient')(
  'a client that openapi-python-client has made registers, waits and lists',
  async () => {
    const { shell, output } = session();
    const port = / 127\.0\.0\.2:(\d+) /.exec(output())?.[1];
    const client = path.join(folder, 'python');
    const words = ['generate', '--path', OPENAPI, '--output-path', client, '--meta', 'none'];
    await run('openapi-python-client', words, { cwd: folder });
    // The folder is the package: it has the name that the document gives it.
    const made = path.join(folder, 'acm_export_deployments_client');
    await run('mv', [client, made]);
    const python = pythonWith('botocore, httpx', programOf('openapi-python-client'));
    const said = await shell(`'${python}' '${CLIENTS}/register.py' '${folder}' www web ${port}`);
    expect(JSON.parse(said)).toEqual({ status: 'INSTALLED', serial: [true, true, true], listed: [true] });
  },
);

needs('openapiTypescript')(
  'types that openapi-typescript has made know the fields of a request',
  async () => {
    const types = path.join(folder, 'api.ts');
    await run('openapi-typescript', [OPENAPI, '--output', types], { cwd: folder });
    await writeFile(
      path.join(folder, 'use.ts'),
      `import type { components, paths } from './api.ts';

type Register = paths['/certificates/{CertName}/deployments']['post'];
type Order = Register['requestBody']['content']['application/json'];
type Answer = Register['responses'][202]['content']['application/json'];

export const order: Order = { TargetTagKey: 'acm-export', TargetTagValue: 'web', VerifyPort: 443, KeyGroup: null };
// @ts-expect-error A port is a number.
export const wrong: Order = { TargetTagKey: 'acm-export', TargetTagValue: 'web', VerifyPort: '443' };
export const number = ({ RolloutNumber }: Answer): number | undefined => RolloutNumber;
export const status: components['schemas']['Status'] = 'INSTALLED';
`,
    );
    const words = [
      '--noEmit',
      '--strict',
      '--allowImportingTsExtensions',
      '--module',
      'nodenext',
      '--ignoreConfig',
    ];
    await run(path.join(ROOT, 'node_modules/.bin/tsc'), [...words, path.join(folder, 'use.ts')], {
      cwd: folder,
    });
  },
);

needs('schemathesis')(
  'schemathesis finds no answer that the document does not describe, and nothing wrong that is taken',
  async () => {
    const { shell } = session();
    const words = [
      'schemathesis run --no-color --seed 20261127 --max-examples 25 --phases examples,fuzzing',
      // Some rules are in no schema: a token must be one that was given out, a certificate of this account, one field fits
      // another. What breaks them is refused with a sentence, which this check takes for a fault.
      '--checks all --exclude-checks positive_data_acceptance',
      `--generation-database none --url "$API_URL" '${OPENAPI}'`,
    ];
    const said = await shell(
      `cd '${folder}'; export SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH='${CLIENTS}'; ${words.join(' ')} || true`,
    );
    expect(said).not.toMatch(/^={5,} FAILURES/m);
    expect(said).toMatch(/Tested: 15\n/);
    expect(said).toMatch(/={5,} (no issues|[^=]*warnings?) .*={5,}/);
  },
);
