// What the owner of an account allows, in the patterns of the documents that Systems Manager gets there.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { PATTERNS, whole } from '../../../functions/domain/patterns.ts';
import { LIST_FORMS, LONGEST_LIST, MOST_ENTRIES } from '../../../scripts/owner-limits.ts';
import { loadDocuments, type SsmDocument } from '../../../scripts/render.ts';
import { DOCUMENT_LIMIT, sizeAtRunTime } from '../../ssm-documents/document-size.ts';
import { bashMatches } from '../../support/bash-matches.ts';
import { MEMBER, memberStack, resourceOf, writtenTemplate } from '../../templates/stacks.ts';

const IDS = { fleet: 'InstallOnFleetDocument', node: 'InstallOnNodeDocument' };
const ID = '0123456789abcdef01234567';
const bundleIn = (account: string, name: string, region = MEMBER.region) =>
  `arn:aws:secretsmanager:${region}:${account}:secret:${name}`;
const bundle = (name: string) => bundleIn(MEMBER.account, name);

/** A document as a stack with these parameters has it. */
const documentOf = (id: string, parameters: Record<string, string>): SsmDocument =>
  resourceOf(memberStack(parameters), id).properties.Content;
const patternsOf = (id: string, parameters: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(documentOf(id, parameters).parameters).map(([name, { allowedPattern }]) => [
      name,
      allowedPattern,
    ]),
  );

/** What each engine says of each text; they agree. Java's is asked by nobody here: SSM tells nothing of how. */
function matches(pattern: string, texts: string[]): boolean[] {
  const javascript = new RegExp(pattern, 'u');
  const re2 = RE2JS.compile(pattern);
  const answers = texts.map((text) => javascript.test(text));
  expect(texts.map((text) => re2.matcher(text).find())).toEqual(answers);
  expect(bashMatches(pattern.slice(1, -1), texts)).toEqual(answers);
  return answers;
}

const LISTS = { AllowedCertNames: 'web-*,api.example.com', AllowedServices: 'nginx,postgresql@*,php8.2-fpm' };
const allowing = (names: string) => patternsOf(IDS.fleet, { ...LISTS, AllowedCertNames: names });

describe.each(Object.entries(IDS))('the document for the %s', (_, id) => {
  const patterns = patternsOf(id, LISTS);

  test.each([
    ['CertName', ['web-1', 'web-a.b_c', `web-${'x'.repeat(60)}`, 'api.example.com']],
    [
      'SecretArn',
      [bundle(`acm-export/web-1/${ID}-AbCdEf`), bundle(`acm-export/api.example.com/${ID}-a1B2c3`)],
    ],
    ['ReloadServices', ['', 'nginx', 'nginx postgresql@14-main', 'nginx nginx nginx nginx php8.2-fpm']],
    ['RestartServices', ['', 'postgresql@', 'postgresql@14-main nginx']],
  ])('%s takes what the owner allows', (name, texts) => {
    expect(matches(patterns[name] as string, texts)).toEqual(texts.map(() => true));
  });

  test.each([
    [
      'CertName',
      [
        ...[
          '',
          'web',
          'payments',
          'eweb-1',
          'x web-1',
          'web-1 ',
          ' web-1',
          'web-1\n',
          '\nweb-1',
          'web-1\r\n',
        ],
        ...['Web-1', 'WEB-1', 'web-1/x', 'web-$(id)', 'web-é', 'web-*', 'web-1,api.example.com', 'web-1|x'],
        ...[
          'api',
          'api.example.co',
          'api.example.com2',
          'api.example.com.',
          'apixexample.com',
          'api-example.com',
        ],
        ...[
          'xapi.example.com',
          'API.example.com',
          'api.example.com\n',
          'api[.]example[.]com',
          'api.example.com web-1',
        ],
      ],
    ],
    [
      'ReloadServices',
      [
        ...[
          'sshd',
          'nginx sshd',
          'sshd nginx',
          'nginx sshd nginx',
          'nginxx',
          'xnginx',
          'nginx.service',
          'Nginx',
        ],
        ...[
          'nginx\n',
          'nginx\nsshd',
          'nginx\tnginx',
          'nginx  nginx',
          'nginxpostgresql@1',
          'nginx,nginx',
          '--now',
        ],
        ...[
          'postgresql',
          'postgresql14',
          'php8x2-fpm',
          'php8.2-fpm-sshd',
          'nginx nginx nginx nginx nginx nginx',
        ],
      ],
    ],
    ['RestartServices', ['sshd', 'nginx sshd', 'nginxx', 'nginx\n', 'postgresql@$(id)', 'postgresql@a;b']],
  ])('%s takes nothing that only contains what is allowed', (name, texts) => {
    const taken = matches(patterns[name] as string, texts);
    expect(texts.filter((_text, index) => taken[index])).toEqual([]);
  });

  test('nothing else of it depends on the lists', () => {
    const { parameters, ...rest } = documentOf(id, LISTS);
    const { parameters: unlimited, ...restOfAll } = documentOf(id, {});
    expect(rest).toEqual(restOfAll);
    const changed = Object.keys(parameters).filter(
      (name) => JSON.stringify(parameters[name]) !== JSON.stringify(unlimited[name]),
    );
    const ofNames = id === IDS.fleet ? ['SecretArn', 'CertName'] : ['CertName'];
    expect(changed).toEqual([...ofNames, 'ReloadServices', 'RestartServices']);
  });

  test('each list limits its own parameters alone', () => {
    const changed = (parameters: Record<string, string>) => {
      const [all, limited] = [patternsOf(id, {}), patternsOf(id, parameters)];
      return Object.keys(all).filter((name) => all[name] !== limited[name]);
    };
    expect(changed({ AllowedCertNames: 'web' })).toContain('CertName');
    expect(changed({ AllowedCertNames: 'web' })).not.toContain('ReloadServices');
    expect(changed({ AllowedServices: 'nginx' })).toEqual(['ReloadServices', 'RestartServices']);
  });
});

test('the document for the fleet takes no bundle but those of allowed names, in its own account and Region', () => {
  const pattern = patternsOf(IDS.fleet, LISTS).SecretArn as string;
  const right = bundle(`acm-export/web-1/${ID}-AbCdEf`);
  const wrong = [
    bundle(`acm-export/payments/${ID}-AbCdEf`),
    bundle(`acm-export/web/${ID}-AbCdEf`),
    bundle(`acm-export/web-1/x/${ID}-AbCdEf`),
    bundle(`acm-export/payments/web-1/${ID}-AbCdEf`),
    bundle(`acm-export/api.example.com/payments/${ID}-AbCdEf`),
    bundle(`acm-export/apixexample.com/${ID}-AbCdEf`),
    bundle(`acm-export/web-1/${ID}`),
    bundle(`acm-export/web-1/${ID}-AbCdE`),
    bundle(`acm-export/web-1/${ID}-AbC/Ef`),
    bundle(`acm-export/web-1/${ID}-AbCdEfG`),
    bundle(`acm-export/web-1/${ID.slice(1)}-AbCdEf`),
    bundle('acm-export/web-1-AbCdEf'),
    bundle(`acm-export-two/web-1/${ID}-AbCdEf`),
    bundle(`web-1/${ID}-AbCdEf`),
    bundleIn('999988887777', `acm-export/web-1/${ID}-AbCdEf`),
    bundleIn(MEMBER.account, `acm-export/web-1/${ID}-AbCdEf`, 'us-east-1'),
    `${right}\n`,
    ` ${right}`,
    `${right} ${right}`,
  ];
  const taken = matches(pattern, [right, ...wrong]);
  expect([right, ...wrong].filter((_, index) => taken[index])).toEqual([right]);
});

describe('whatever the lists are', () => {
  const entries = (form: string) =>
    fc
      .uniqueArray(
        fc.stringMatching(whole(form)).filter((entry) => entry.length < 20 && !entry.includes('..')),
        { minLength: 1, maxLength: MOST_ENTRIES },
      )
      .filter((all) => all.join(',').length <= 100);
  const isAllowed = (name: string, all: string[]) =>
    all.some((entry) => (entry.endsWith('*') ? name.startsWith(entry.slice(0, -1)) : name === entry));

  test('a name is taken where it is an entry, or begins like one with a star', () => {
    fc.assert(
      fc.property(
        entries(PATTERNS.AllowedCertName),
        fc.array(fc.stringMatching(whole(PATTERNS.CertName)), { maxLength: 5 }),
        (all, others) => {
          const names = [...others, ...all.flatMap((entry) => around(entry.replace('*', '')))].filter(
            (name) => whole(PATTERNS.CertName).test(name),
          );
          const pattern = new RegExp(allowing(all.join(',')).CertName as string, 'u');
          expect(names.filter((name) => pattern.test(name))).toEqual(
            names.filter((name) => isAllowed(name, all)),
          );
        },
      ),
      { numRuns: 25 },
    );
  });

  test('so is each unit of a list of units', () => {
    fc.assert(
      fc.property(
        entries(PATTERNS.AllowedService),
        fc.array(fc.stringMatching(whole(PATTERNS.UnitName)), { maxLength: 5 }),
        (all, others) => {
          const units = [...others, ...all.flatMap((entry) => around(entry.replace('*', '')))].filter(
            (unit) => whole(PATTERNS.UnitName).test(unit),
          );
          const pattern = new RegExp(
            patternsOf(IDS.node, { AllowedServices: all.join(',') }).ReloadServices as string,
            'u',
          );
          const pairs = units.flatMap((one) => units.slice(0, 4).map((other) => [one, other]));
          for (const list of [...units.map((unit) => [unit]), ...pairs]) {
            expect([list, pattern.test(list.join(' '))]).toEqual([
              list,
              list.every((unit) => isAllowed(unit, all)),
            ]);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  /** The neighbours of a name. */
  const around = (name: string) => [
    name,
    `${name}x`,
    `${name}.x`,
    `x${name}`,
    name.slice(0, -1),
    name.slice(1),
    name.toUpperCase(),
    name.replaceAll('.', 'x'),
  ];
});

describe('with the lists as long as they may be', () => {
  /** Lists of so many equal entries: of dots, each of which becomes three characters, and stars. */
  const lists = (most: number) =>
    Array.from({ length: MOST_ENTRIES }, (_, index) => {
      const count = index + 1;
      const length = Math.min(64, Math.floor((most + 1) / count) - 1);
      const entry = `${'a.'.repeat(length).slice(0, length - 2)}a*`.replace('..', '.');
      return Array(count).fill(entry).join(',');
    });
  const longest = (list: keyof typeof LONGEST_LIST) =>
    lists(LONGEST_LIST[list])
      .map((text) => ({
        text,
        length: text.replaceAll('.', '[.]').replaceAll('*', '[A-Za-z0-9._-]*').length,
      }))
      .toSorted((a, b) => b.length - a.length)[0]?.text as string;
  const parameters = {
    Prefix: 'x'.repeat(20),
    AllowedCertNames: longest('AllowedCertNames'),
    AllowedServices: longest('AllowedServices'),
  };

  test('they are such that the template takes them', () => {
    for (const [list, form] of Object.entries(LIST_FORMS) as [keyof typeof LIST_FORMS, string][]) {
      expect(parameters[list]).toMatch(new RegExp(form));
      expect(parameters[list].split(',')).toHaveLength(MOST_ENTRIES);
      expect(parameters[list].length).toBeGreaterThan(LONGEST_LIST[list] - MOST_ENTRIES - 1);
    }
  });

  // Values have the form of the documents too: the API, and the script on the node, take no others.
  test.each([
    [IDS.fleet, loadDocuments().installOnFleet],
    [IDS.node, loadDocuments().installOnNode],
  ])('%s stays below the size that SSM takes, with all parameters at their longest', (id, source) => {
    expect(sizeAtRunTime(documentOf(id, parameters), source.parameters)).toBeLessThan(DOCUMENT_LIMIT);
  });

  test('every engine reads the patterns', () => {
    for (const id of Object.values(IDS)) {
      const { CertName, ReloadServices } = patternsOf(id, parameters);
      const [name, unit] = [parameters.AllowedCertNames, parameters.AllowedServices].map(
        (list) => list.split(',')[0]?.replace('*', 'x') as string,
      ) as [string, string];
      expect(matches(CertName as string, [name, `x${name}`])).toEqual([true, false]);
      const five = Array(5).fill(unit).join(' ');
      expect(matches(ReloadServices as string, [five, `${five} x`])).toEqual([true, false]);
    }
  });
});

test('where all is allowed the documents are those of the sources, to the letter', () => {
  const { installOnFleet, installOnNode } = loadDocuments();
  for (const [id, source] of [
    [IDS.fleet, installOnFleet],
    [IDS.node, installOnNode],
  ] as const) {
    const { parameters } = documentOf(id, {});
    expect(JSON.stringify(parameters)).toBe(JSON.stringify(source.parameters));
  }
});

describe.each(Object.entries(LIST_FORMS))('%s', (name, form) => {
  const written = writtenTemplate('member-account.yaml').Parameters[name];
  const stackWith = (value: string) => () => memberStack({ [name]: value });

  test('has the form and the length of the sources', () => {
    expect(written).toMatchObject({
      Type: 'String',
      Default: '*',
      AllowedPattern: form,
      MaxLength: LONGEST_LIST[name as keyof typeof LONGEST_LIST],
    });
  });

  test.each([
    ['a star alone', '*'],
    ['one name', 'web'],
    ['one letter', 'a'],
    ['a letter and a star', 'a*'],
    ['an entry of 64 characters', `${'x'.repeat(63)}*`],
    ['ten entries', 'a,b,c,d,e,f,g,h,i,j*'],
  ])('may be %s', (_, value) => {
    expect(stackWith(value)).not.toThrow();
  });

  test.each([
    ['empty', ''],
    ['a star beside others', 'web,*'],
    ['others beside a star', '*,web'],
    ['a star at the beginning', '*web'],
    ['a star in the middle', 'web*x'],
    ['two stars', 'web**'],
    ['an empty entry', 'web,,api'],
    ['a comma at the end', 'web,'],
    ['a comma at the beginning', ',web'],
    ['a space', 'web, api'],
    ['an end of a line', 'web\n'],
    ['two lines', 'web\napi'],
    ['eleven entries', 'a,b,c,d,e,f,g,h,i,j,k'],
    ['an entry of 65 characters', 'x'.repeat(65)],
    ['two dots together', 'web..api'],
    ['a sign at the beginning', '.web'],
    ['longer than it may be', Array(10).fill('x'.repeat(20)).join(',')],
    ...['|', '(', ')', '[', ']', '{', '}', '+', '?', '^', '$', '\\', '/', '"', "'", '`', '!', '&', 'é'].map(
      (sign) => [`with ${sign}`, `web${sign}x`],
    ),
  ])('is never %s', (_, value) => {
    expect(stackWith(value)).toThrow(new RegExp(name));
  });
});
