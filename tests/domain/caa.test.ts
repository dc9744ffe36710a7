import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ACM_ISSUERS, type CaaProperty, caaVerdict } from '../../functions/domain/caa.ts';

/** `issue amazon.com`; `!tag` is critical. */
const properties = (...texts: string[]): CaaProperty[] =>
  texts.map((text) => {
    const [, critical, tag = '', value = ''] = /^(!?)(\S+) ?(.*)$/.exec(text) ?? [];
    return { critical: critical === '!', tag, value };
  });

const fault = (text: string | RegExp) => ({ fault: expect.stringMatching(text) });
const MAY = {};

test.each([
  ['no property', [], MAY, MAY],
  ['only iodef', ['iodef mailto:a@b.c'], MAY, MAY],
  ['critical iodef', ['!iodef mailto:a@b.c'], MAY, MAY],
  ['an unknown tag', ['tbs x'], MAY, MAY],
  ['an unknown critical tag', ['issue amazon.com', '!tbs x'], fault(/"tbs".*critical/), fault(/"tbs"/)],
  ['critical issuemail', ['!issuemail ;', 'issue amazon.com'], fault(/"issuemail"/), fault(/"issuemail"/)],
  ['issuemail of others', ['issuemail ;'], MAY, MAY],
  ['ours', ['issue amazon.com'], MAY, MAY],
  ['ours, critical', ['!issue amazon.com'], MAY, MAY],
  ['ours in capitals and spaces', ['issue   Amazon.COM  '], MAY, MAY],
  ['ours beside others', ['issue letsencrypt.org', 'issue amazontrust.com'], MAY, MAY],
  ['ours beside nobody', ['issue ;', 'issue amazon.com'], MAY, MAY],
  ['nobody', ['issue ;'], fault(/let no CA issue .issue.*0 issue "amazon.com"/), fault(/let no CA issue/)],
  ['an empty value', ['issue'], fault(/let no CA issue/), fault(/let no CA issue/)],
  ['others', ['issue letsencrypt.org'], fault(/issue: letsencrypt.org/), fault(/letsencrypt/)],
  ['a name below ours', ['issue x.amazon.com'], fault(/x.amazon.com/), fault(/x.amazon.com/)],
  ['ours with more at its end', ['issue amazon.com.'], fault(/amazon.com\./), fault(/amazon.com\./)],
  ['two in one value', ['issue amazon.com letsencrypt.org'], fault(/and not ACM/), fault(/and not ACM/)],
  [
    'only wildcards forbidden',
    ['issuewild ;'],
    MAY,
    fault(/no CA issue .issuewild.*0 issuewild "amazon.com"/),
  ],
  ['only wildcards to others', ['issuewild letsencrypt.org'], MAY, fault(/issuewild: letsencrypt/)],
  ['issuewild wins over issue', ['issue amazon.com', 'issuewild ;'], MAY, fault(/issuewild/)],
  ['issuewild of ours', ['issue ;', 'issuewild amazon.com'], fault(/let no CA issue/), MAY],
  ['issuewild beside others', ['issuewild a.org', 'issuewild awstrust.com', 'issue ;'], fault(/issue/), MAY],
] as const)('%s', (_, texts, plain, wild) => {
  expect(caaVerdict({ at: 'example.com' }, properties(...texts), false)).toEqual(plain);
  expect(caaVerdict({ at: 'example.com' }, properties(...texts), true)).toEqual(wild);
});

test('a condition is told, unless another record lets ACM issue without it', () => {
  const conditional = 'issue amazon.com; accounturi=https://example.com/1';
  expect(caaVerdict({ at: 'example.com' }, properties(conditional), false)).toEqual({
    warning: expect.stringMatching(/accounturi=https:\/\/example.com\/1.*CAA_ERROR/),
  });
  expect(caaVerdict({ at: 'example.com' }, properties(conditional, 'issue amazonaws.com;'), false)).toEqual(
    {},
  );
});

test('a fault names only the issuers that there are', () => {
  expect(caaVerdict({ at: 'example.com' }, properties('issue ;', 'issue letsencrypt.org'), false)).toEqual(
    fault(/let other CAs issue .issue: letsencrypt.org., and not ACM/),
  );
});

test('a tag that cannot be read counts as critical', () => {
  const given = [{ critical: true, tag: '', value: '' }, ...properties('issue amazon.com')];
  expect(caaVerdict({ at: 'example.com' }, given, false)).toEqual(
    fault(
      /^The CAA record with a tag that acm-export cannot read at example.com counts as critical.* Remove it\.$/,
    ),
  );
});

test.each([
  [
    'issue letsencrypt.org',
    /of cdn.net let other CAs issue .* Their owner can add a CAA record there: 0 issue "amazon.com"/,
  ],
  ['!tbs x', /"tbs" of cdn.net is critical.* Their owner can set its flags to 0/],
])('at a CNAME nobody can add a record: %s', (text, says) => {
  const place = { at: 'www.example.com', target: 'cdn.net' };
  const { fault: said } = caaVerdict(place, properties(text), false);
  expect(said).toMatch(says);
  expect(said).toMatch(/^www.example.com is a CNAME for cdn.net, whose CAA records count/);
  expect(said).toMatch(
    /Or replace the CNAME by an address or alias record: then the CAA records of example.com count\.$/,
  );
});

test('what a fault says is where the record is', () => {
  expect(caaVerdict({ at: 'a.example.com' }, properties('issue ;'), false).fault).toContain(
    'at a.example.com',
  );
});

test('a CA of ACM that is added always lets it issue', () => {
  const value = fc.constantFrom('', ';', 'letsencrypt.org', ...ACM_ISSUERS, 'amazon.com; a=b');
  const tag = fc.constantFrom('issue', 'issuewild', 'iodef', 'tbs');
  const property = fc.record({ critical: fc.constant(false), tag, value });
  fc.assert(
    fc.property(
      fc.array(property),
      fc.boolean(),
      fc.constantFrom(...ACM_ISSUERS),
      (given, wildcard, ours) => {
        const added = properties(`${wildcard ? 'issuewild' : 'issue'} ${ours}`);
        expect(caaVerdict({ at: 'example.com' }, [...given, ...added], wildcard)).toEqual({});
        // Wildcards do not concern other names.
        const others = given.filter((one) => one.tag !== 'issuewild');
        expect(caaVerdict({ at: 'example.com' }, given, false)).toEqual(
          caaVerdict({ at: 'example.com' }, others, false),
        );
      },
    ),
  );
});
