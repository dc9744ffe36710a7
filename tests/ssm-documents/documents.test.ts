import { readFile } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { loadDocuments, renderMemberAccount, TEMPLATE_LIMIT } from '../../scripts/render-member-account.ts';

/** SSM: a document and the values of its parameters together, in bytes. */
const DOCUMENT_LIMIT = 64 * 1024;
/** AutomationParameterValue, in characters. */
const PARAMETER_VALUE_LIMIT = 512;

const template = await readFile(new URL('../../member-account.yaml', import.meta.url), 'utf8');
const { installOnNode, installOnFleet } = await loadDocuments();
const documents = { 'install-on-node': installOnNode, 'install-on-fleet': installOnFleet };

describe.each(Object.entries(documents))('%s', (_, document) => {
  test.each(Object.entries(document.parameters))(
    '%s takes only what its anchored pattern allows',
    (_, parameter) => {
      expect(parameter.type).toBe('String');
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
      if (parameter.default !== undefined) expect(parameter.default).toMatch(pattern);
    },
  );

  test('stays below the size that SSM takes, with all parameters at their longest', () => {
    const values = Object.keys(document.parameters).length * PARAMETER_VALUE_LIMIT;
    expect(Buffer.byteLength(JSON.stringify(document)) + values).toBeLessThan(DOCUMENT_LIMIT);
  });
});

test('every parameter reaches the script as an environment variable and never as text', () => {
  for (const parameter of Object.values(installOnNode.parameters)) {
    expect(parameter.interpolationType).toBe('ENV_VAR');
  }
  expect(JSON.stringify(installOnNode.mainSteps)).not.toContain('{{');
});

test('the fleet document hands every parameter on to both of its steps, the canary first', () => {
  const names = Object.keys(installOnNode.parameters);
  expect(installOnFleet.mainSteps.map(({ name }) => name)).toEqual(['InstallOnCanary', 'InstallOnFleet']);
  for (const step of installOnFleet.mainSteps) {
    expect(step.inputs.Parameters).toEqual(Object.fromEntries(names.map((name) => [name, `{{ ${name} }}`])));
    expect(step.onFailure).toBe('Abort');
  }
});

test('the role of the Automation document is not a parameter', () => {
  expect(installOnFleet.assumeRole).toEqual({ 'Fn::GetAtt': ['AutomationRole', 'Arn'] });
});

test('member-account.yaml holds the documents as they are, in characters that CloudFormation shows', async () => {
  expect(await renderMemberAccount(template)).toBe(template);
  expect(Buffer.byteLength(template)).toBeLessThanOrEqual(TEMPLATE_LIMIT);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is the point.
  expect(template).toMatch(/^[\x00-\x7f]*$/);
});
