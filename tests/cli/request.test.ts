import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import type { RequestState } from '../../cli/answers.ts';
import type { Fleet } from '../../local/example-fleet.ts';
import { command, type Ran, type Surroundings } from './command-line.ts';

// The command against what the contract of the API says, call by call. The other tests of the command have the API itself.

const URL_OF_API = 'https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/v1';
const ARN = 'arn:aws:acm:eu-west-1:111122223333:certificate/11112222-3333-4444-5555-666677778888';
const RECORD = {
  Name: '_3639ac51.shop.example.com.',
  Type: 'CNAME' as const,
  Value: '_98d2646f.acm-validations.aws.',
  DomainNames: ['shop.example.com', '*.shop.example.com'],
};
const WRITTEN = {
  HostedZoneId: 'Z0123456789ABC',
  Account: '444455556666',
  WrittenAt: '2026-11-28T05:00:07Z',
};

const ID = '0123456789abcdef01234567';
const TARGET = {
  DeploymentId: ID,
  TargetTagKey: 'acm-export',
  TargetTagValue: 'web',
  TargetAccount: '444455556666',
  TargetRegion: 'eu-west-1',
};

const settings = {
  region: 'eu-west-1',
  credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'of-nobody' },
};
/** Nothing of it answers: each test has its own API. */
const fleet = {
  central: { apiUrl: URL_OF_API },
  cloud: { clientConfig: () => settings },
} as unknown as Fleet;

const folder = mkdtempSync(path.join(tmpdir(), 'request-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Call {
  method: string;
  path: string;
  body: unknown;
}

const answered = (more: Partial<RequestState> = {}): RequestState => ({
  CertName: 'shop',
  Status: 'VALIDATING',
  Reason: 'ACM has not seen the record yet.',
  DomainNames: ['shop.example.com', '*.shop.example.com'],
  KeyAlgorithm: 'RSA_2048',
  Tags: {},
  Records: [],
  Deployments: [],
  CreatedAt: '2026-11-28T05:00:00Z',
  UpdatedAt: '2026-11-28T05:00:00Z',
  Warnings: [],
  ...more,
});
const done = (more: Partial<RequestState> = {}) =>
  answered({ Status: 'DONE', Reason: 'ACM has issued it.', CertificateArn: ARN, Records: [RECORD], ...more });

/** Answers of the API, one after the other; the last one again and again. */
function api(...answers: (object | { status: number; body: object })[]): {
  fetch: typeof fetch;
  calls: Call[];
} {
  const calls: Call[] = [];
  return {
    calls,
    fetch: async (url, init) => {
      const answer = answers[Math.min(calls.length, answers.length - 1)] as {
        status?: number;
        body?: object;
      };
      calls.push({
        method: String(init?.method),
        path: new URL(String(url)).pathname,
        body: init?.body === undefined ? undefined : JSON.parse(String(init.body)),
      });
      const [status, body] =
        typeof answer.status === 'number' ? [answer.status, answer.body] : [200, answer as object];
      return new Response(JSON.stringify({ ...body, CorrelationId: '1' }), { status });
    },
  };
}

const request = (words: string[], around: Surroundings): Promise<Ran> =>
  command(fleet, ['request', ...words], { pause: 0, ...around });
const NAMES = ['--domain', 'shop.example.com', '--domain', '*.shop.example.com'];

test('a request says what it costs, asks, shows the records, and waits until ACM has issued the certificate', async () => {
  const { fetch, calls } = api(
    answered({ Status: 'ASKING', Reason: 'ACM has been asked.' }),
    answered({ Records: [RECORD] }),
    answered({ Records: [{ ...RECORD, ...WRITTEN }] }),
    done(),
  );
  const ran = await request(['shop', ...NAMES], { fetch, answer: 'y' });
  expect(ran).toMatchObject({ code: 0, err: '' });
  expect(ran.asked).toEqual([
    expect.stringMatching(
      /^ACM is asked for a certificate for shop\.example\.com, \*\.shop\.example\.com\. AWS charges for it when it is issued, and at each renewal\. /,
    ),
  ]);
  expect(calls).toEqual([
    {
      method: 'POST',
      path: '/v1/certificates/shop',
      body: { DomainNames: ['shop.example.com', '*.shop.example.com'] },
    },
    ...[1, 2, 3].map(() => ({ method: 'GET', path: '/v1/certificates/shop', body: undefined })),
  ]);
  const said = ran.out.split('\n').map((line) => line.replace(/^\d\d:\d\d:\d\d /, ''));
  expect(said).toEqual([
    'shop: ACM has been asked.',
    'shop: ACM has not seen the record yet.',
    '',
    '; shop.example.com, *.shop.example.com: acm-export has not written it',
    '_3639ac51.shop.example.com. IN CNAME _98d2646f.acm-validations.aws.',
    '',
    'Leave these records there. ACM needs them again for each renewal.',
    'shop: The record _3639ac51.shop.example.com. is written to zone Z0123456789ABC of 444455556666 at 2026-11-28T05:00:07Z.',
    'shop: issued',
    `  ACM has issued ${ARN}.`,
    '  No deployment came with the request. To deliver the certificate:',
    `  acm-export register shop --certificate-arn ${ARN} --tag key=value`,
    '',
  ]);
});

test('without a yes nothing is sent; without a terminal --yes is asked for', async () => {
  const { fetch, calls } = api(answered());
  const refused = await request(['shop', ...NAMES], { fetch, answer: '' });
  expect([refused.code, refused.err]).toEqual([1, 'acm-export: Nothing was done.\n']);
  const unasked = await request(['shop', ...NAMES], { fetch });
  expect([unasked.code, calls]).toEqual([2, []]);
  expect(unasked.err).toMatch(/AWS charges for it .*add --yes/);
});

test('all that can be asked for is sent: key, tags and the deployments of a file, without the defaults', async () => {
  const file = path.join(folder, 'deployments.yaml');
  writeFileSync(
    file,
    'Deployments:\n  - CertName: shop\n    TargetTagKey: acm-export\n    TargetTagValue: web\n    VerifyPort: 443\n',
  );
  const { fetch, calls } = api(answered());
  const ran = await request(
    [
      ...['shop', ...NAMES, '--key-algorithm', 'EC_prime256v1', '--tag', 'Team=shop', '--tag', 'Cost=a=b'],
      ...['--deployments', file, '--yes', '--no-wait', '--output', 'json'],
    ],
    { fetch },
  );
  expect(calls).toEqual([
    {
      method: 'POST',
      path: '/v1/certificates/shop',
      body: {
        DomainNames: ['shop.example.com', '*.shop.example.com'],
        KeyAlgorithm: 'EC_prime256v1',
        Tags: { Team: 'shop', Cost: 'a=b' },
        Deployments: [{ TargetTagKey: 'acm-export', TargetTagValue: 'web', VerifyPort: 443 }],
      },
    },
  ]);
  expect([ran.code, ran.json()]).toEqual([0, { Outcome: 'served', ...answered(), CorrelationId: '1' }]);
});

test('a dry run asks nobody, is not waited for, and shows zones and deployments', async () => {
  const { fetch, calls } = api(
    answered({
      Status: 'DRY_RUN',
      Reason: 'Nothing was requested.',
      Zones: [{ DomainName: 'shop.example.com', HostedZoneId: 'Z0123456789ABC', Account: '444455556666' }],
      Deployments: [TARGET],
      Warnings: ['AWS charges for it.'],
    }),
  );
  const ran = await request(['shop', ...NAMES, '--dry-run'], { fetch });
  expect([ran.code, ran.err, calls.length]).toEqual([0, 'Warning: AWS charges for it.\n', 1]);
  expect(calls[0]?.body).toMatchObject({ DryRun: true });
  expect(ran.out).toContain('Status:         DRY_RUN\nReason:         Nothing was requested.\n');
  expect(ran.out).toContain('Zones:          shop.example.com: Z0123456789ABC of 444455556666\n');
  expect(ran.out).toContain('Deployments:    shop/acm-export=web in 444455556666 eu-west-1  01234567\n');
});

test('without a domain it shows the request that is there, and its records as they are pasted into a zone', async () => {
  const InSyncAt = '2026-11-28T05:00:38Z';
  const { fetch, calls } = api(
    done({
      Tags: { Team: 'shop' },
      Records: [
        { ...RECORD, ...WRITTEN, InSyncAt },
        {
          Name: '_a.example.org',
          Type: 'CNAME',
          Value: '_b.acm-validations.aws',
          DomainNames: ['example.org'],
        },
      ],
    }),
  );
  const ran = await request(['shop'], { fetch });
  expect([ran.code, calls.map(({ method }) => method)]).toEqual([0, ['GET']]);
  expect(ran.out).toContain('Domain names:   shop.example.com\n                *.shop.example.com\n');
  expect(ran.out).toContain('Tags:           Team=shop\n');
  expect(ran.out).toContain(
    `
; shop.example.com, *.shop.example.com: in zone Z0123456789ABC of 444455556666, on all its name servers since ${InSyncAt}
_3639ac51.shop.example.com. IN CNAME _98d2646f.acm-validations.aws.
; example.org: acm-export has not written it
_a.example.org. IN CNAME _b.acm-validations.aws.
`,
  );
  const json = await request(['shop', '--output', 'json'], { fetch });
  expect(json.json()).toMatchObject({ Status: 'DONE', CertificateArn: ARN });
});

test('text of the API cannot write to the terminal, nor end the comment of a record', async () => {
  const evil = 'a\u001b]0;owned\u0007\nb IN A 192.0.2.1';
  const { fetch } = api(answered({ Reason: evil, Records: [{ ...RECORD, DomainNames: [evil] }] }));
  const { out } = await request(['shop'], { fetch, columns: 100, env: { NO_COLOR: '1' } });
  expect(out.match(/[^\P{C}\n]/gu)).toBeNull();
  expect(out).not.toMatch(/^b IN A/m);
});

test('a request that fails exits with 1 and says why', async () => {
  const { fetch } = api(
    answered(),
    answered({ Status: 'FAILED', Reason: 'It has failed.', Error: 'ACM refused it: CAA_ERROR.' }),
  );
  const ran = await request(['shop', '--wait'], { fetch });
  expect([ran.code, ran.out.split('\n').slice(-3)]).toEqual([
    1,
    ['shop: FAILED', '  ACM refused it: CAA_ERROR.', ''],
  ]);
  const { fetch: again } = api(answered({ Status: 'FAILED', Error: 'ACM refused it.' }));
  const json = await request(['shop', '--wait', '--output', 'json'], { fetch: again });
  expect(json.json()).toMatchObject({ Outcome: 'failed', Deployments: [], Request: { Status: 'FAILED' } });
});

test('once it is issued, the rollouts of its deployments are waited for, and the worst of them decides', async () => {
  const deployment = {
    ...{ ...TARGET, CertName: 'shop', Nodes: [], RolloutNumber: 7 },
    ...{ Delivery: 'nodes', EarliestNotAfter: '2027-06-09T23:59:59Z' },
  };
  const issued = done({ Deployments: [TARGET] });
  const running = {
    ...deployment,
    Status: 'ROLLING_OUT',
    Reason: 'A rollout is running.',
    Rollout: { Cause: 'request', Serial: '1', ClaimedAt: '2026-11-28T05:00:00Z' },
  };
  const last = { Number: 7, Serial: '1', Status: 'INSTALLED' };
  const served = { ...deployment, Status: 'INSTALLED', Seen: 'port', Reason: '', LastRollout: last };
  const { fetch, calls } = api(issued, running, running, served);
  const ran = await request(['shop', '--wait'], { fetch });
  expect(ran.code).toBe(0);
  expect(calls.map((call) => call.path)).toEqual([
    '/v1/certificates/shop',
    ...[1, 2, 3].map(() => `/v1/certificates/shop/deployments/${ID}`),
  ]);
  expect(ran.out).toMatch(/shop: issued\n {2}ACM has issued .*\n.*A rollout is running\.\n/);
  expect(ran.out).toContain('shop/acm-export=web: served\n  Every server serves it at its port, until ');
  const broken = { ...served, Status: 'FAILED', LastError: 'It is broken.' };
  const failed = await request(['shop', '--wait', '--output', 'json'], { fetch: api(issued, broken).fetch });
  expect([failed.code, failed.json()]).toMatchObject([
    1,
    { Outcome: 'failed', Deployments: [{ Outcome: 'failed' }], Request: { Status: 'DONE' } },
  ]);
});

test('one that is issued exits with 1 where a deployment was refused, and waits for the others', async () => {
  const text = 'shop/acm-export=api: The tag is not allowed.';
  const missing = { status: 404, body: { Message: 'There is no such deployment.' } };
  const refused = done({ Error: text, Deployments: [TARGET] });
  const none = await request(['shop', '--wait'], { fetch: api(refused, missing).fetch });
  expect([none.code, none.out, none.err]).toEqual([
    1,
    expect.stringContaining(`issued ${ARN}.\n  ${text}\n`),
    '',
  ]);
  expect(none.out).not.toContain('No deployment came');
  const served = {
    ...{ ...TARGET, CertName: 'shop', Status: 'INSTALLED', Nodes: [], RolloutNumber: 7 },
    LastRollout: { Number: 7, Serial: '1' },
  };
  const partly = done({ Error: text, Deployments: [TARGET, TARGET] });
  const { fetch } = api(partly, missing, served);
  const some = await request(['shop', '--wait', '--output', 'json'], { fetch });
  expect([some.code, some.json()]).toMatchObject([
    1,
    { Outcome: 'failed', Deployments: [{ Outcome: 'served' }], Request: { Error: text } },
  ]);
});

test('a wait that is over exits with 3, one that is interrupted with 130, and both say how to go on', async () => {
  const { fetch } = api(answered());
  const late = await request(['shop', '--wait', '--timeout', '20s'], { fetch });
  expect([late.code, late.out]).toEqual([3, expect.stringContaining('acm-export request shop --wait')]);
  const controller = new AbortController();
  const interrupted = await request(['shop', ...NAMES, '--yes'], {
    fetch,
    interrupted: controller.signal,
    paused: () => controller.abort(),
  });
  expect([interrupted.code, interrupted.err]).toEqual([
    130,
    'acm-export: The wait is over. What was started goes on.\nGo on watching: acm-export request shop --wait\n',
  ]);
});

test('a wait of twelve hours asks less than 1,600 times, and each thing is said once', async () => {
  const { fetch, calls } = api(answered({ Records: [RECORD], Warnings: ['Nobody is subscribed.'] }));
  const ran = await request(['shop', '--wait', '--timeout', '12h'], { fetch });
  expect(ran.code).toBe(3);
  expect(calls.length).toBeLessThan(1600);
  expect(ran.err).toBe('Warning: Nobody is subscribed.\n');
  expect(ran.out.match(/ACM has not seen the record yet/g)).toHaveLength(1);
  expect(ran.out.match(/IN CNAME/g)).toHaveLength(1);
});

test.each([
  [400, { Message: 'The request is not valid.', Faults: [{ Field: 'DomainNames', Reason: 'double' }] }, 2],
  [403, { Message: 'shop may not have shop.example.com.' }, 1],
  [409, { Message: 'Another request is open.' }, 1],
  [422, { Message: 'It cannot be issued.', Faults: [{ Field: 'DomainNames', Reason: 'CAA forbids it' }] }, 1],
])('a refusal with %i says what the API says', async (status, body, code) => {
  const ran = await request(['shop', ...NAMES, '--yes'], { fetch: api({ status, body }).fetch });
  const faults = ('Faults' in body ? body.Faults : [])
    .map(({ Field, Reason }) => `  ${Field}: ${Reason}\n`)
    .join('');
  expect(ran).toMatchObject({ code, out: '', err: `acm-export: ${body.Message}\n${faults}` });
});

test('a caller without the permission is told which one is missing', async () => {
  const fetch = (async () =>
    new Response('{"message":"User: arn:aws:iam::111122223333:user/a is not authorized to perform"}', {
      status: 403,
    })) as typeof globalThis.fetch;
  const ran = await request(['shop', ...NAMES, '--yes'], { fetch });
  expect(ran.err).toContain(
    'It needs the permission execute-api:Invoke on arn:aws:execute-api:eu-west-1:*:a1b2c3d4e5/v1/POST/certificates/shop\n',
  );
});

test('a stack that does not know requests yet is to be updated', async () => {
  const fetch = (async () =>
    new Response('{"message":"Missing Authentication Token"}', { status: 403 })) as typeof globalThis.fetch;
  const ran = await request(['shop'], { fetch });
  expect([ran.code, ran.err]).toEqual([1, expect.stringMatching(/earlier edition.* Update the stack\.\n$/)]);
});

test.each([
  [['shop', '--dry-run'], /request needs at least one --domain/],
  [['shop', '--deployments', '-'], /request needs at least one --domain/],
  [['shop', ...NAMES, '--tag', 'Team'], /--tag takes key=value, for example Team=shop/],
  [['shop', ...NAMES, '--tag', 'a=1', '--tag', 'a=2'], /--tag names a twice/],
  [['shop', ...NAMES, '--key-algorithm', 'RSA_4096'], /Allowed choices are RSA_2048/],
  [['shop', ...NAMES, '--timeout', 'soon'], /--timeout takes a time/],
  [['shop', ...NAMES, '--deployments', '/nowhere.yaml'], /There is no such file: \/nowhere\.yaml/],
  [[...NAMES], /missing required argument 'cert-name'/],
])('`acm-export request %j` exits with 2 before any call', async (words, says) => {
  const { fetch, calls } = api(answered());
  const ran = await request(words, { fetch, answer: 'y', stdin: 'Deployments: []' });
  expect([ran.code, calls]).toEqual([2, []]);
  expect(ran.err).toMatch(says);
});

test('each fault of the file is told with its place', async () => {
  const stdin = `Deployments:
  - CertName: www
    CertificateArn: ${ARN}
    TargetTagKey: acm-export
    VerifyPort: 99999
  - TargetTagKey: acm-export
    TargetTagValue: web
    DryRun: true
  - web
`;
  const { fetch, calls } = api(answered());
  const ran = await request(['shop', ...NAMES, '--yes', '--deployments', '-'], { fetch, stdin });
  expect([ran.code, calls]).toEqual([2, []]);
  expect(ran.err.split('\n').slice(0, -1).sort()).toEqual(
    [
      'acm-export: standard input is not valid. Nothing was changed.',
      'standard input:2:5: TargetTagValue: missing',
      'standard input:2:5: CertName: not shop, which is requested: leave it out',
      'standard input:3:5: CertificateArn: the certificate is only requested, and has no ARN yet: leave it out',
      'standard input:5:5: VerifyPort: at most 65535',
      'standard input:8:5: DryRun: the whole request has it: use --dry-run',
      'standard input:9:5: an entry: not a JSON object',
    ].sort(),
  );
});
