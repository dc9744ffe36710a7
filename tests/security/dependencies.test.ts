import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { Deployed } from 'local-cloud/templates';
import { dependencyFaults, readAudit, sbomFaults, unmarked } from '../../scripts/dependencies.ts';
import { centralStack, policiesOf, ROOT, resourceOf, resourceStack } from '../templates/stacks.ts';

const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');
const json = (file: string) => JSON.parse(read(file));

describe('what comes from the registry', () => {
  test.each(['package-lock.json', 'tools/package-lock.json', 'docs/examples/cdk/package-lock.json'])(
    'every package of %s is under a permissive licence and pinned by its hash',
    (file) => {
      expect(dependencyFaults(file, json(file))).toEqual([]);
    },
  );

  const lock = (license: string | undefined, more: object = {}) => ({
    packages: {
      '': { license: 'MIT-0' },
      'node_modules/a': { ...(license ? { license } : {}), integrity: 'sha512-0', ...more },
    },
  });

  test.each([
    ['the AGPL', lock('AGPL-3.0-only')],
    ['the GPL, for development', lock('GPL-3.0-or-later', { dev: true })],
    ['a licence that must be asked for', lock('UNLICENSED')],
    ['a licence that nobody knows', lock('SEE LICENSE IN LICENSE')],
    ['no licence', lock(undefined)],
    ['two licences, of which one is not permissive', lock('MIT AND AGPL-3.0-only')],
    ['a licence that is good enough for development only', lock('CC-BY-4.0')],
  ])('a package under %s is found', (_what, file) => {
    expect(dependencyFaults('lock', file)).toEqual([expect.stringMatching(/^lock: a is under /)]);
  });

  test('a choice of licences needs one that is allowed', () => {
    expect(dependencyFaults('lock', lock('(MIT OR GPL-3.0-only)'))).toEqual([]);
  });

  test('a package without a hash is found, a nested one too', () => {
    const nested = { packages: { 'node_modules/a/node_modules/b': { license: 'MIT' } } };
    expect(dependencyFaults('lock', nested)).toEqual(['lock: b is not pinned by a hash']);
    // In the archive of a, which has one.
    const inside = { 'node_modules/a/node_modules/b': { license: 'MIT', inBundle: true } };
    expect(dependencyFaults('lock', { packages: inside })).toEqual([]);
  });
});

describe('the list of packages', () => {
  const lock = {
    packages: {
      '': { version: '1.0.0' },
      'node_modules/a': { version: '1.0.0' },
      'node_modules/a/node_modules/@b/c': { version: '2.0.0' },
      'node_modules/d': { version: '1.0.0', dev: true },
      'node_modules/own': { link: true },
    },
  };
  const marked = { properties: [{ name: 'cdx:npm:package:development', value: 'true' }] };

  test('has every package that is delivered', () => {
    const [a, c] = [
      { name: 'a', version: '1.0.0' },
      { name: '@b/c', version: '2.0.0' },
    ];
    expect(sbomFaults(lock, { components: [a, c] })).toEqual([]);
    const missing = ['the list of packages lacks @b/c@2.0.0'];
    expect(sbomFaults(lock, { components: [a] })).toEqual(missing);
    expect(sbomFaults(lock, { components: [a, { ...c, version: '2.0.1' }] })).toEqual(missing);
    expect(sbomFaults(lock, { components: [a, { ...c, ...marked }] })).toEqual(missing);
  });

  test('marks what is delivered from one place, and is for development in another, as delivered', () => {
    const components = [
      { name: 'a', version: '1.0.0', ...marked },
      { name: 'd', version: '1.0.0', ...marked },
    ];
    const { components: found } = unmarked(lock, { components });
    expect(found).toEqual([{ name: 'a', version: '1.0.0', properties: [] }, components[1]]);
  });
});

describe('the audit', () => {
  test('names what is known against a package', () => {
    const answer = { vulnerabilities: { a: { severity: 'high', range: '<1.2.3' } } };
    expect(readAudit(JSON.stringify(answer))).toEqual({ faults: ['a <1.2.3: high vulnerability'] });
  });

  test.each([
    ['a registry that serves none', '{"message":"405 Method Not Allowed","statusCode":405,"error":{}}'],
    ['no network', '{"error":{"summary":"request to https://registry.example failed"}}'],
    ['no answer', ''],
  ])('counts %s as not checked, never as a pass', (_what, output) => {
    expect(readAudit(output).notChecked).toMatch(/./);
  });

  test('passes when the registry knows nothing', () => {
    expect(readAudit('{"vulnerabilities":{}}')).toEqual({ faults: [] });
  });
});

describe('what is delivered', () => {
  const sources = globSync('functions/**/*.ts', { cwd: ROOT }).map(read);
  /** The command carries its packages in its one file. */
  const command = globSync('cli/**/*.ts', { cwd: ROOT }).map(read);
  const layer = globSync('layers/runtime/**/*.ts', { cwd: ROOT }).map((file) => ({
    name: file.replace(/^layers\/runtime\/|\.ts$/g, ''),
    exports: (/export \{([^}]*)\}/.exec(read(file))?.[1] ?? '').match(/\w+/g) ?? [],
  }));

  /** Names that the functions import from a package as values; types are gone when they are built. */
  function importedFrom(name: string): Set<string> {
    const pattern = new RegExp(`import (type )?([^;]*?) from '${name}'`, 'g');
    const found = sources.flatMap((source) => [...source.matchAll(pattern)].filter(([, type]) => !type));
    return new Set(
      found.flatMap(([, , clause = '']) =>
        clause.startsWith('{') ? (clause.replace(/\btype \w+/g, '').match(/\w+/g) ?? []) : ['default'],
      ),
    );
  }

  test.each(layer)(
    'the layer holds of $name what the functions use, and nothing more',
    ({ name, exports }) => {
      expect(exports.length).toBeGreaterThan(0);
      expect([...exports].sort()).toEqual([...importedFrom(name)].sort());
    },
  );

  test('every dependency is in the layer, in the functions, in the command, or asked for by one that is', () => {
    const { dependencies } = json('package.json') as { dependencies: Record<string, string> };
    const names = Object.keys(dependencies);
    const peers = names.flatMap((name) =>
      Object.keys(json(`node_modules/${name}/package.json`).peerDependencies ?? {}),
    );
    const unused = names.filter(
      (name) =>
        !layer.some((entry) => entry.name === name || entry.name.startsWith(`${name}/`)) &&
        ![...sources, ...command].some(
          (source) => source.includes(`from '${name}'`) || source.includes(`from '${name}/`),
        ) &&
        !peers.includes(name),
    );
    expect(unused).toEqual([]);
  });

  const stacks: [Deployed, Deployed] = [
    // With every option that adds a grant.
    centralStack({ DnsAccounts: '444455556666' }),
    resourceStack({ CallerRoleArn: 'arn:aws:iam::444455556666:role/caller' }),
  ];
  const services: Record<string, string> = {
    sfn: 'states',
    iam: 'sts',
    'secrets-manager': 'sts',
    ssm: 'sts',
    eventbridge: 'sts',
  };
  const built = globSync('build/functions/*/handler.mjs', { cwd: ROOT }).map((file) => [
    path.basename(path.dirname(file)),
    read(file),
  ]);

  test.each(built)('%s loads clients of those services only that its role may call', (name, code) => {
    const words = (name as string).split('-').map((word) => `${word[0]?.toUpperCase()}${word.slice(1)}`);
    const id = `${words.join('')}FunctionRole`;
    const stack = stacks.find(({ resources }) => resources.has(id));
    const role = JSON.stringify(policiesOf(resourceOf(stack ?? stacks[0], id)));
    const clients = [...(code as string).matchAll(/\/@aws-sdk\/client-([a-z-]+)\/index\.mjs/g)].map(
      ([, client = '']) => client,
    );
    expect(clients.length).toBeGreaterThan(0);
    // What is called in target accounts is called with a role there, which the function may take on.
    const foreign = clients.filter((client) => !role.includes(`"${services[client] ?? client}:`));
    expect(foreign).toEqual([]);
  });

  test.each(built)('%s brings no client of its own', (_name, code) => {
    const own = (code as string).replaceAll(/"\/opt\/nodejs\/[^"]*"/g, '');
    expect(own).not.toMatch(/x-amz-user-agent|smithy/);
  });
});
