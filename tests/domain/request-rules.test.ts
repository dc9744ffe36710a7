import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { notAllowed, parseRules, refusalOf } from '../../functions/domain/request-rules.ts';

const allows = (rules: string, certName: string, name: string) =>
  notAllowed(parseRules(rules), certName, [name]).length === 0;

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const domain = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join('.'));
const certName = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,12}[A-Za-z0-9])?$/);

describe('a rule', () => {
  test('reads as it is written', () => {
    expect(parseRules('')).toEqual([]);
    expect(parseRules('www=www.example.com,web-*=.example.com,*=*.example.com')).toEqual([
      { CertName: 'www', Domain: 'www.example.com' },
      { CertName: 'web-*', Domain: '.example.com' },
      { CertName: '*', Domain: '*.example.com' },
    ]);
  });

  test.each<[string, string, boolean]>([
    ['.example.com', 'www.example.com', true],
    ['.example.com', 'a.b.c.example.com', true],
    ['.example.com', 'example.com', false],
    ['.example.com', 'badexample.com', false],
    ['.example.com', 'www.badexample.com', false],
    ['.example.com', 'example.com.evil.org', false],
    ['.example.com', 'www.example.com.evil.org', false],
    ['.example.com', '*.example.com', false],
    ['.example.com', '*.www.example.com', false],
    ['*.example.com', '*.example.com', true],
    ['*.example.com', 'www.example.com', false],
    ['*.example.com', 'example.com', false],
    ['*.example.com', '*.www.example.com', false],
    ['*.example.com', '*.badexample.com', false],
    ['www.example.com', 'www.example.com', true],
    ['www.example.com', 'a.www.example.com', false],
    ['www.example.com', 'wwwxexample.com', false],
    ['www.example.com', '*.example.com', false],
  ])('%s: %s %p', (pattern, name, expected) => {
    expect(allows(`web=${pattern}`, 'web', name)).toBe(expected);
  });

  test.each<[string, string, boolean]>([
    ['web', 'web', true],
    ['web', 'web2', false],
    ['web', 'Web', false],
    ['web-*', 'web-a', true],
    ['web-*', 'web-', true],
    ['web-*', 'web', false],
    ['web-*', 'aweb-a', false],
    ['*', 'web', true],
    ['w.b', 'web', false],
  ])('for %s and the name %s: %p', (pattern, name, expected) => {
    expect(allows(`${pattern}=www.example.com`, name, 'www.example.com')).toBe(expected);
  });

  test('rules add up, each for its own names', () => {
    const rules = parseRules('web=www.example.com,web=*.example.com,api=.example.org');
    const names = ['www.example.com', '*.example.com', 'a.example.org'];
    expect(notAllowed(rules, 'web', names)).toEqual(['a.example.org']);
    expect(notAllowed(rules, 'api', names)).toEqual(['www.example.com', '*.example.com']);
    expect(notAllowed([], 'web', names)).toEqual(names);
  });
});

describe('whatever the names are', () => {
  test('a domain with a dot before it allows what is below it, and nothing else', () => {
    fc.assert(
      fc.property(domain, domain, certName, (allowed, name, cert) => {
        const labels = name.split('.');
        const suffix = allowed.split('.');
        const isBelow =
          labels.length > suffix.length && labels.slice(-suffix.length).join('.') === suffix.join('.');
        expect(allows(`${cert}=.${allowed}`, cert, name)).toBe(isBelow);
        expect(allows(`${cert}=.${allowed}`, cert, `${name}.${allowed}`)).toBe(true);
        expect(allows(`${cert}=.${allowed}`, cert, `x${allowed}`)).toBe(false);
        expect(allows(`${cert}=.${allowed}`, cert, `*.${name}.${allowed}`)).toBe(false);
      }),
    );
  });

  test('any other domain allows exactly itself', () => {
    const written = fc.tuple(fc.constantFrom('', '*.'), domain).map((parts) => parts.join(''));
    fc.assert(
      fc.property(written, written, certName, (allowed, name, cert) => {
        expect(allows(`${cert}=${allowed}`, cert, name)).toBe(allowed === name);
        expect(allows(`${cert}=${allowed}`, cert, allowed)).toBe(true);
      }),
    );
  });

  test('a name gains nothing by a rule of another name', () => {
    fc.assert(
      fc.property(certName, certName, domain, (cert, other, name) => {
        fc.pre(cert !== other);
        expect(allows(`${other}=${name}`, cert, name)).toBe(false);
        expect(allows(`${other}*=${name}`, cert, name)).toBe(cert.startsWith(other));
      }),
    );
  });
});

describe('a record', () => {
  const refusal = (rules: string, ...DomainNames: string[]) =>
    refusalOf(parseRules(rules), 'web', { Name: '_a.example.com.', DomainNames });

  test('is refused for the names that no rule allows, with what to do', () => {
    expect(refusal('web=www.example.com,api=api.example.com', 'www.example.com', 'api.example.com')).toBe(
      '_a.example.com. was not written. No rule allows api.example.com under the name web. The administrator of this ' +
        'stack can allow it: parameter RequestRules. Then acm-export writes the record.',
    );
  });

  test('of two names needs a rule for each', () => {
    expect(refusal('web=example.com', 'example.com', '*.example.com')).toContain(
      'allows *.example.com under',
    );
    expect(refusal('web=*.example.com', 'example.com', '*.example.com')).toContain(
      'allows example.com under',
    );
    expect(refusal('web=*.example.com,web=example.com', 'example.com', '*.example.com')).toBeUndefined();
  });

  test('is compared in whatever case ACM writes its names', () => {
    expect(refusal('web=www.example.com', 'WWW.example.com.')).toBeUndefined();
  });
});
