import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  baseOf,
  checkNames,
  isWildcard,
  plainName,
  zoneCandidates,
} from '../../functions/domain/domain-names.ts';

/** ACM's own form of a name (API reference, DomainNameString). */
const ACM = /^(\*\.)?(((?!-)[A-Za-z0-9-]{0,62}[A-Za-z0-9])\.)+((?!-)[A-Za-z0-9-]{1,62}[A-Za-z0-9])$/;

/** A name of so many characters, in labels of at most 63. */
function ofLength(length: number): string {
  const labels = ['com'];
  for (let left = length - 4; left > 0; ) {
    const size = left > 64 ? Math.min(63, left - 2) : left;
    labels.unshift('a'.repeat(size));
    left -= size + 1;
  }
  return labels.join('.');
}

test.each([
  ['www.example.com', 'www.example.com'],
  ['WWW.Example.COM', 'www.example.com'],
  ['example.com.', 'example.com'],
  ['*.example.com', '*.example.com'],
  ['*.Example.com.', '*.example.com'],
  ['a.b.c.d.example.com', 'a.b.c.d.example.com'],
  ['1.example.com', '1.example.com'],
  ['0x1.example.com', '0x1.example.com'],
  ['a--b.example.com', 'a--b.example.com'],
  ['münchen.de', 'xn--mnchen-3ya.de'],
  ['MÜNCHEN.de.', 'xn--mnchen-3ya.de'],
  ['*.münchen.de', '*.xn--mnchen-3ya.de'],
  ['www.xn--mnchen-3ya.de', 'www.xn--mnchen-3ya.de'],
  ['XN--MNCHEN-3YA.de', 'xn--mnchen-3ya.de'],
  ['xn--mnchen-3ya.bücher.example.com', 'xn--mnchen-3ya.xn--bcher-kva.example.com'],
  ['faß.de', 'xn--fa-hia.de'],
  ['日本語。jp', 'xn--wgv71a119e.jp'],
  ['example．com．', 'example.com'],
  [`${'a'.repeat(63)}.com`, `${'a'.repeat(63)}.com`],
])('%s is asked for as %s', (given, name) => {
  // Behind a short one, because the first name may have 64 characters only.
  expect(checkNames(['first.example.org', given])).toEqual({
    names: ['first.example.org', name],
    faults: [],
  });
});

const hyphens = /hyphen/;
test.each([
  ['', /no DNS name/],
  ['.', /no DNS name/],
  ['*.', /no DNS name/],
  ['com', /one label/],
  ['localhost', /names below localhost/],
  ['*.com', /every domain below com/],
  ['*', /star/],
  ['*.*.example.com', /star/],
  ['www.*.example.com', /star/],
  ['w*.example.com', /star/],
  ['*a.example.com', /star/],
  ['*é.example.com', /star/],
  ['*example.com', /star/],
  ['a..example.com', /empty label/],
  ['.example.com', /empty label/],
  ['example.com..', /empty label/],
  ['*..example.com', /empty label/],
  ['_acme.example.com', /underscore/],
  ['a_b.example.com', /underscore/],
  ['é_x.example.com', /underscore/],
  ['-a.example.com', hyphens],
  ['a-.example.com', hyphens],
  ['ab--c.example.com', hyphens],
  ['1.2.3.4', /IP address/],
  ['１.２.３.４', /IP address/],
  ['example.123', /IP address/],
  ['example.0x7f', /IP address/],
  ['::1', /no DNS name/],
  ['example.com:443', /no DNS name/],
  ['example.com/a', /no DNS name/],
  ['https://example.com', /no DNS name/],
  ['user@example.com', /no DNS name/],
  ['ex%61mple.com', /no DNS name/],
  ['example。com/é', /no DNS name/],
  ['％41.com', /no DNS name/],
  ['exa mple.com', /no DNS name/],
  [' example.com', /no DNS name/],
  ['example.com\n', /no DNS name/],
  ['a\nb.example.com', /no DNS name/],
  ['a\0.example.com', /no DNS name/],
  ['a\\b.example.com', /no DNS name/],
  ['xn--.example.com', hyphens],
  ['xn--a.example.com', /ASCII form/],
  ['xn--zzzzzz99999.com', /ASCII form/],
  ['example.c', /top-level domain has one character/],
  ['*.example.c', /top-level domain has one character/],
  ['*.c', /every domain below c/],
  ['printer.local', /names below local/],
  ['db.corp.internal', /names below internal/],
  ['www.example.test', /names below test/],
  ['www.example', /names below example/],
  ['4.3.2.1.in-addr.arpa', /no public certificate is issued below arpa/],
  ['a.onion', /names below onion/],
  [`${'a'.repeat(64)}.com`, /63 characters, and one has 64/],
])('%j is refused', (given, reason) => {
  const { names, faults } = checkNames([given]);
  expect(names).toEqual([]);
  expect(faults).toEqual([expect.stringMatching(reason)]);
});

test('a name leaves room for the label that ACM puts before it', () => {
  const [longest, tooLong] = [ofLength(219), ofLength(220)];
  expect([longest.length, tooLong.length]).toEqual([219, 220]);
  const { names, faults } = checkNames(['a.com', longest, `*.${longest}`, tooLong, `*.${tooLong}`]);
  expect(names).toEqual(['a.com', longest, `*.${longest}`]);
  expect(faults).toEqual([expect.stringMatching(/may have 219/), expect.stringMatching(/may have 219/)]);
});

test('the first name may have 64 characters', () => {
  const [longest, tooLong] = [ofLength(64), ofLength(65)];
  expect(checkNames([longest, tooLong]).faults).toEqual([]);
  expect(checkNames([tooLong, longest]).faults).toEqual([
    expect.stringMatching(/has 65. Put a shorter name first/),
  ]);
});

test('a name is named once, in whatever form', () => {
  const { names, faults } = checkNames(['münchen.de', 'a.com', 'XN--MNCHEN-3YA.DE.', 'A.com', '*.a.com']);
  expect(names).toEqual(['xn--mnchen-3ya.de', 'a.com', '*.a.com']);
  expect(faults).toEqual([
    expect.stringMatching(/^"XN--MNCHEN-3YA.DE.": .*already/),
    expect.stringMatching(/^"A.com"/),
  ]);
});

test('a name in another script is shown as it was written, and in its ASCII form', () => {
  const long = `${'a'.repeat(60)}.münchen.de`;
  const { faults } = checkNames([long, 'münchen_x.de', 'münchen.de', 'MÜNCHEN.de']);
  expect(faults).toEqual([
    expect.stringMatching(/^"münchen_x.de" \(xn--mnchen_x-.*\.de\): .*underscore/),
    expect.stringMatching(/^"MÜNCHEN.de" \(xn--mnchen-3ya.de\): the list has this name already/),
    expect.stringMatching(/^"a{60}.münchen.de" \(a{60}.xn--mnchen-3ya.de\): the first name may have 64/),
  ]);
});

test('what nobody sees, or what turns the text around, is shown by its number', () => {
  const { faults } = checkNames([
    'a\u202eb_.com',
    'c\u200bd_.com',
    'e\u3164f_.com',
    'g\u2028h_.com',
    'i\ufff9j_.com',
  ]);
  expect(faults.map((fault) => /^"[^"]*"/.exec(fault)?.[0])).toEqual([
    '"a\\u{202e}b_.com"',
    '"c\\u{200b}d_.com"',
    '"e\\u{3164}f_.com"',
    '"g\\u{2028}h_.com"',
    '"i\\u{fff9}j_.com"',
  ]);
});

test('a fault names every name that is refused, and a long one in part', () => {
  const { faults } = checkNames(['com', `é${'a'.repeat(5000)}`, 'a.com']);
  expect(faults).toHaveLength(2);
  expect(Math.max(...faults.map((fault) => fault.length))).toBeLessThan(400);
});

test('what is taken is a name for ACM, and checking it again changes nothing', () => {
  const label = fc.oneof(
    fc.stringMatching(/^[a-zA-Z0-9*_-]{0,65}$/),
    fc.string({ unit: 'grapheme', maxLength: 5 }),
    fc.constantFrom('xn--mnchen-3ya', 'xn--a', 'com', '*', 'local', '１'),
  );
  const name = fc.array(label, { maxLength: 6 }).map((labels) => labels.join('.'));
  const isOfFirst = (fault: string) => fault.includes('the first name may have');
  fc.assert(
    fc.property(fc.array(name, { maxLength: 5 }), (given) => {
      const { names, faults } = checkNames(given);
      const ofNames = faults.filter((fault) => !isOfFirst(fault));
      expect(names.length + ofNames.length).toBe(given.length);
      for (const taken of names) {
        expect(taken).toMatch(ACM);
        expect(taken).toBe(taken.toLowerCase());
        expect(`_${'0'.repeat(32)}.${baseOf(taken)}`.length).toBeLessThanOrEqual(253);
      }
      // Of one that was written in another script the ASCII form is all that there is now.
      const { names: again, faults: left } = checkNames(names);
      expect(again).toEqual(names);
      expect(left.every(isOfFirst)).toBe(true);
      expect(left).toHaveLength(faults.length - ofNames.length);
    }),
    { numRuns: 2000 },
  );
});

test('a wildcard is looked for where the name below its star is', () => {
  expect(zoneCandidates('*.a.example.com')).toEqual(['a.example.com', 'example.com', 'com']);
  expect(zoneCandidates('a.example.com')).toEqual(['a.example.com', 'example.com', 'com']);
  expect([isWildcard('*.a.com'), isWildcard('a.com'), baseOf('*.a.com'), baseOf('a.com')]).toEqual([
    true,
    false,
    'a.com',
    'a.com',
  ]);
  expect(plainName('NS-1.awsDNS-00.COM.')).toBe('ns-1.awsdns-00.com');
});
