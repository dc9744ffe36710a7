import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { OWN_FAULTS } from '../../functions/domain/exit-codes.ts';
import { exitCodes } from '../../scripts/parameters.ts';
import {
  installScript,
  joinParts,
  loadDocuments,
  lookScript,
  RENDERED,
  rendered,
  TEMPLATE_LIMIT,
} from '../../scripts/render.ts';
import { memberStack, resourceOf } from '../templates/stacks.ts';
import {
  DOCUMENT_LIMIT,
  longestMatch,
  longestValue,
  PARAMETER_VALUE_LIMIT,
  sizeAtRunTime,
} from './document-size.ts';

const template = await readFile(new URL('../../member-account.yaml', import.meta.url), 'utf8');
const { installOnNode, installOnFleet, lookAtNode } = loadDocuments();
const documents = {
  'install-on-node': installOnNode,
  'install-on-fleet': installOnFleet,
  'look-at-node': lookAtNode,
};
describe.each(Object.entries(documents))('%s', (_, document) => {
  test.each(Object.entries(document.parameters))(
    '%s takes only what its anchored pattern allows',
    (_, parameter) => {
      // Only Automation documents make lists of lists: in a command they would become text.
      expect(['String', ...(document === installOnFleet ? ['StringList'] : [])]).toContain(parameter.type);
      expect(parameter.allowedPattern).toMatch(/^\^.*\$$/s);
      // What Java knows and RE2 does not, or the other way round.
      expect(parameter.allowedPattern).not.toMatch(/\(\?|\\[a-zA-Z1-9]|[+*?}]\+|&&/);
      // Without alternatives on the top level, which an anchor would not reach.
      const topLevel = parameter.allowedPattern
        .replace(/\[[^\]]*\]/g, '')
        .replace(/\((?:[^()]|\([^()]*\))*\)/g, '');
      expect(topLevel).not.toContain('|');
      const pattern = new RegExp(parameter.allowedPattern, 'u');
      for (const hostile of ['$(id)', '`id`', "x'; id #", 'x\nid', 'x;id', '{{ ssm:x }}', 'x\0']) {
        expect(hostile).not.toMatch(pattern);
      }
      for (const value of [parameter.default ?? []].flat()) expect(value).toMatch(pattern);
    },
  );

  test.each(Object.entries(document.parameters))('%s has a longest value', (_, parameter) => {
    const value = longestValue(parameter);
    const pattern = new RegExp(parameter.allowedPattern, 'u');
    expect(value).toMatch(pattern);
    expect(value.length).toBeLessThanOrEqual(PARAMETER_VALUE_LIMIT);
    fc.assert(fc.property(fc.stringMatching(pattern), (other) => other.length <= value.length));
  });

  test('stays below the size that SSM takes, with all parameters at their longest', () => {
    expect(sizeAtRunTime(document)).toBeLessThan(DOCUMENT_LIMIT);
  });
});

test('the longest match is found through alternatives, groups and repeats', () => {
  expect(longestMatch('ab?[c-e]{1,3}', 0)).toBe('abccc');
  expect(longestMatch('(a|bcd){0,2}(e(f|gh))?', 0)).toBe('bcdbcdegh');
  expect(longestMatch('a*b+', 3)).toBe('aaabbbb');
  expect(() => longestMatch('a.b', 0)).toThrow();
});

test.each([installOnNode, lookAtNode])(
  'every parameter reaches the script as an environment variable and never as text',
  (document) => {
    for (const parameter of Object.values(document.parameters)) {
      expect(parameter.interpolationType).toBe('ENV_VAR');
    }
    expect(JSON.stringify(document.mainSteps)).not.toContain('{{');
  },
);

test('the fleet document hands every parameter on to each step that sends, the canary first', () => {
  const names = Object.keys(installOnNode.parameters).filter((name) => name !== 'AfterCanary');
  const sending = installOnFleet.mainSteps.filter(({ action }) => action === 'aws:runCommand');
  expect(sending.map(({ name }) => name)).toEqual(['InstallOnCanary', 'InstallOnNodes', 'InstallOnFleet']);
  for (const step of sending) {
    const { AfterCanary: _, ...handedOn } = step.inputs.Parameters as Record<string, string>;
    expect(handedOn).toEqual(Object.fromEntries(names.map((name) => [name, `{{ ${name} }}`])));
    expect(step.onFailure).toBe('Abort');
  }
});

test('a fault of a node itself counts at the canary, and not after it: no caller decides that', () => {
  const said = installOnFleet.mainSteps.flatMap(({ name, action, inputs }) =>
    action === 'aws:runCommand' ? [[name, (inputs.Parameters as Record<string, string>).AfterCanary]] : [],
  );
  expect(said).toEqual([
    ['InstallOnCanary', undefined],
    ['InstallOnNodes', 'true'],
    ['InstallOnFleet', 'true'],
  ]);
  expect(installOnNode.parameters.AfterCanary?.default).toBe('false');
  expect(installOnFleet.parameters).not.toHaveProperty('AfterCanary');
});

test('no fault after the switch is one of the node itself, nor one that the order, the bundle or the certificate may cause', () => {
  const own = exitCodes.flatMap((exit) => (exit.own ? [exit.fault] : []));
  expect(own).toEqual([
    'agent-too-old',
    'missing-tool',
    'busy',
    'dry-run-impossible',
    'left-out',
    'bundle-denied',
    'bundle-network',
    'bundle-unreadable',
    'rollout-superseded',
    'owned-by-another',
    'path-refused',
    'hook-refused',
    'name-refused',
    'write-failed',
  ]);
  expect(exitCodes.filter(({ code, own: isOwn }) => isOwn && code >= 60)).toEqual([]);
  expect(Object.values(OWN_FAULTS)).toEqual(own);
});

test('after the canary, the fleet document goes to all with the tag, or to the nodes that are named, and ends', () => {
  const [, branch, onNodes, onFleet] = installOnFleet.mainSteps;
  expect(branch).toEqual({
    name: 'IsForSomeNodes',
    action: 'aws:branch',
    inputs: {
      Choices: [{ NextStep: 'InstallOnNodes', Variable: '{{ Scope }}', StringEquals: 'nodes' }],
      Default: 'InstallOnFleet',
    },
  });
  const { InstanceIds: named, ...inputs } = onNodes?.inputs ?? {};
  const { Targets: tagged, ...others } = onFleet?.inputs ?? {};
  expect(named).toBe('{{ NodeIds }}');
  expect(tagged).toEqual([{ Key: 'tag:{{ TargetTagKey }}', Values: ['{{ TargetTagValue }}'] }]);
  expect(inputs).toEqual(others);
  expect([onNodes?.isEnd, onFleet?.isEnd]).toEqual([true, true]);
});

test('a central stack of an earlier edition, which names neither Heal nor nodes, installs on all with the tag', () => {
  const { Heal, Scope, NodeIds } = installOnFleet.parameters;
  expect([Heal?.default, Scope?.default, NodeIds?.default]).toEqual(['false', 'tag', []]);
});

test('a look ends before the time-out of its document', () => {
  const [, parts = ''] = /BUDGET=\(([^)]*)\)/.exec(lookScript()) ?? [];
  const seconds = [...parts.matchAll(/=(\d+)/g)].map(([, number]) => Number(number));
  const kill = Number(/KILL=(\d+)/.exec(lookScript())?.[1]);
  expect(seconds).toHaveLength(2);
  // A program that ignores SIGTERM outlives its part by KILL; a second is lost to rounding.
  const longest = seconds.reduce((sum, part) => sum + part + kill + 1, 0);
  expect(longest).toBeLessThan(Number(lookAtNode.mainSteps[0]?.inputs.timeoutSeconds) * 0.9);
});

test('the script of a look has no command that writes, sends, starts or stops', () => {
  const code = lookScript().replace(/(^|\s)#.*|\(\(.*?\)\)/g, '');
  expect(code).not.toMatch(
    /\b(aws|chgrp|chmod|chown|cp|curl|flock|kill|ln|logger|mkdir|mkfifo|mv|rm|sync|systemctl|tee|touch|wget)\s/,
  );
  // No file is opened for writing: of all redirections, only these go out.
  expect(new Set(code.match(/[0-9&]*>+[|&]?[^\s();"]*/g))).toEqual(
    new Set(['2>/dev/null', '2>&1', '>/dev/null']),
  );
});

test('the role of the Automation document is not a parameter', () => {
  expect(installOnFleet.assumeRole).toEqual({ 'Fn::GetAtt': ['AutomationRole', 'Arn'] });
});

test.each(Object.keys(RENDERED))('%s holds what `make render` would write', (file) => {
  const { is, shouldBe } = rendered(file);
  expect(is).toBe(shouldBe);
});

test('member-account.yaml has a size and characters that CloudFormation takes', () => {
  expect(Buffer.byteLength(template)).toBeLessThanOrEqual(TEMPLATE_LIMIT);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is the point.
  expect(template).toMatch(/^[\x00-\x7f]*$/);
});

test.each([
  ['InstallOnNodeDocument', installScript],
  ['LookAtNodeDocument', lookScript],
])('%s deploys the script of the sources, comments included', (id, script) => {
  const { Content } = resourceOf(memberStack(), id).properties;
  expect(Content.mainSteps[0].inputs.runCommand).toEqual([script()]);
});

test('the parts of a script are joined in the byte order of their names, whatever their folder, without empty lines', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'parts-'));
  const [own, shared] = [path.join(folder, 'own'), path.join(folder, 'a-shared')];
  try {
    for (const made of [own, shared]) await mkdir(made);
    const parts = {
      'own/20-main.sh': 'main\n',
      'own/00-head.sh': '#!/bin/bash\n# why\n\n',
      'own/1-late.sh': 'late() {\n  :\n    :\n}\n',
      'a-shared/10-early.sh': 'early\n',
      'own/README.md': 'no part\n',
    };
    for (const [name, text] of Object.entries(parts)) await writeFile(path.join(folder, name), text);
    expect(joinParts(shared, own)).toBe('#!/bin/bash\n# why\nlate() {\n:\n:\n}\nearly\nmain\n');
  } finally {
    await rm(folder, { recursive: true });
  }
});
