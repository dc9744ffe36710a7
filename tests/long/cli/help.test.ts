import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { programOf } from '../../../cli/program.ts';
import type { World } from '../../../cli/world.ts';
import { requestCertificate } from '../../../local/example-fleet.ts';
import { command, quickNode } from '../../cli/command-line.ts';
import { testFleet } from '../../end-to-end/test-fleet.ts';
import { ROOT } from '../../templates/stacks.ts';

const world = { env: {}, stdout: { write: () => {} }, stderr: { write: () => {} } } as unknown as World;
const commands = programOf(world, () => {}).commands.filter((one) => one.name() !== 'help');
const fleet = testFleet({
  central: { parameters: { RequestRules: 'shop=shop.example.com,shop=.shop.example.com' } },
});

/** The words of a line as bash has them; what goes to a file is not looked at. */
function wordsOf(line: string, variables: Record<string, string>): string[] {
  const [said = ''] = line.split(' > ');
  return [...said.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) =>
    (double ?? single ?? bare ?? '').replace(/\$([A-Z_]+)/g, (_, name) => variables[name] ?? ''),
  );
}

/** The lines below `Examples:`. */
async function examplesOf(name: string): Promise<string[]> {
  const { out } = await command(fleet(), [name, '--help']);
  return [...(out.split('\nExamples:\n')[1] ?? '').matchAll(/^ {2}\$ acm-export (.*)$/gm)].map(
    ([, line = '']) => line,
  );
}

describe('help', () => {
  let arn: string;
  beforeAll(async () => {
    arn = await requestCertificate(fleet(), '+', ['www.example.com']);
    for (const name of ['web', 'api', 'shop']) await quickNode(fleet().cloud, name);
    fleet().cloud.settle();
    for (const [name, tag] of [
      ['www', 'web'],
      ['api', 'api'],
    ]) {
      await command(
        fleet(),
        `register ${name} --certificate-arn ${arn} --tag acm-export=${tag} --verify-port 443`.split(' '),
      );
    }
  });

  test('lists every command in a group, and every exit code', async () => {
    const { code, out } = await command(fleet(), ['--help']);
    expect(code).toBe(0);
    for (const one of commands) expect(out).toMatch(new RegExp(`^  ${one.name()} `, 'm'));
    for (const group of ['Look', 'Act', 'Stop', 'Files', 'Diagnose']) expect(out).toContain(`\n${group}:\n`);
    expect(out).toMatch(/Exit codes:\n {2}0 {4}Done/);
    expect((await command(fleet(), [])).code).toBe(2);
  });

  // `remove` last: it takes away what the others look at.
  const names = commands
    .map((one) => one.name())
    .sort((a, b) => Number(a === 'remove') - Number(b === 'remove'));
  test.each(names)('of %s has examples, which work as they stand', async (name) => {
    const examples = await examplesOf(name);
    expect(examples.length).toBeGreaterThan(0);
    // The second one of `remove` finds nothing any more.
    for (const line of name === 'remove' ? examples.slice(0, 1) : examples) {
      const words = wordsOf(line, { CERTIFICATE_ARN: arn });
      const stdin = `Deployments:\n  - {CertName: www, CertificateArn: '${arn}', TargetTagKey: acm-export, TargetTagValue: web, VerifyPort: 443}\n`;
      const files: Record<string, string> = {
        'certificates.yaml': stdin,
        'shop.yaml': 'Deployments:\n  - {TargetTagKey: acm-export, TargetTagValue: shop, VerifyPort: 443}\n',
      };
      const [file] = words.filter((word) => word in files);
      const ran = await command(
        fleet(),
        words.map((word) => (word === file ? '-' : word)),
        {
          answer: 'y',
          pause: 40,
          ...(file ? { stdin: files[file] as string } : {}),
          env: { ACM_EXPORT_STACK: 'acm-export-central' },
        },
      );
      // 10: plan and expiring were asked for it. 5: a freeze is shown. 4 and 1 are what doctor finds of this operator, who may
      // only call the API.
      const expected = { doctor: [1, 4], freeze: [0, 5] }[name] ?? [0, 10];
      expect([line, expected.includes(ran.code) ? '' : ran.err + ran.out]).toEqual([line, '']);
    }
  });

  test('the example of a file that is in the docs is the one that a plan takes', async () => {
    const stdin = readFileSync(path.join(ROOT, 'docs/examples/certificates.yaml'), 'utf8');
    const { code, out } = await command(fleet(), ['plan', '-f', '-'], { stdin });
    expect([code, out]).toEqual([0, expect.stringContaining('Plan: 2 new, 0 changed')]);
  });
});
