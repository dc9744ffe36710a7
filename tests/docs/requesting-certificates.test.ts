import { describe, expect, test } from '@jest/globals';
import { CertificateRequestBody, REQUEST_READ_ONLY } from '../../functions/deployments-api/request-body.ts';
import { requestViewOf } from '../../functions/deployments-api/request-view.ts';
import {
  type CertificateRequest,
  KEY_ALGORITHMS,
  type RequestStatus,
} from '../../functions/domain/certificate-request.ts';
import {
  FAILURE_REASONS,
  REQUEST_REASONS,
  TERMINAL_STATUSES,
} from '../../functions/domain/next-of-request.ts';
import { notAllowed, parseRules } from '../../functions/domain/request-rules.ts';
import { writtenTemplate } from '../templates/stacks.ts';
import { blocksOf, read, rowsOf, section } from './documents.ts';

const PAGE = 'docs/requesting-certificates.md';
const codes = (cell: string | undefined) => [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, code]) => code);
const firstCodes = (rows: string[][]) => rows.map(([cell]) => codes(cell)[0]).sort();

/** Each status that an answer may have: the compiler knows when one is missing. */
const STATUSES: Record<RequestStatus | 'DRY_RUN', true> = {
  ASKING: true,
  VALIDATING: true,
  REGISTERING: true,
  DONE: true,
  FAILED: true,
  DRY_RUN: true,
};

test('every status of a request is explained, and no other', () => {
  const rows = rowsOf(section(PAGE, 'What GET shows')).slice(1);
  expect(firstCodes(rows)).toEqual(Object.keys(STATUSES).sort());
});

describe('the fields of a request', () => {
  const rows = rowsOf(section(PAGE, 'Request a certificate')).slice(1);

  test('are explained, each once, and no others', () => {
    const { CertName: _, ...shape } = CertificateRequestBody.shape;
    const asked = Object.keys(shape).filter((name) => !(REQUEST_READ_ONLY as string[]).includes(name));
    expect(firstCodes(rows)).toEqual(asked.sort());
  });

  test('have the defaults that are said', () => {
    const said = Object.fromEntries(rows.map(([name, value]) => [codes(name)[0], codes(value)[0]]));
    const defaults = CertificateRequestBody.parse({ DomainNames: ['shop.example.com'] });
    expect(said).toMatchObject({ KeyAlgorithm: defaults.KeyAlgorithm, DryRun: String(defaults.DryRun) });
    expect([defaults.Tags, defaults.Deployments]).toEqual([{}, []]);
    const [, , algorithms] = rows.find(([name]) => name === '`KeyAlgorithm`') ?? [];
    expect(codes(algorithms)).toEqual([...KEY_ALGORITHMS]);
  });
});

test('the answer that is shown is one that the API gives', () => {
  const shown = blocksOf(PAGE)
    .filter(({ language, text }) => language === 'json' && text.includes('"Records"'))
    .map(({ text }) => JSON.parse(text));
  expect(shown).toHaveLength(1);
  const [{ CorrelationId: _, ...answer }] = shown;
  const [{ HostedZoneId, Account, WrittenAt, InSyncAt, ...record }] = answer.Records;
  const request: CertificateRequest = {
    CertName: answer.CertName,
    RequestNumber: answer.RequestNumber,
    Status: answer.Status,
    Wish: {
      DomainNames: answer.DomainNames,
      KeyAlgorithm: answer.KeyAlgorithm,
      Tags: answer.Tags,
      Deployments: answer.Deployments.map(
        ({ DeploymentId: _id, ...asked }: { DeploymentId: string }) => asked,
      ),
    },
    CorrelationId: '1',
    CreatedAt: answer.CreatedAt,
    UpdatedAt: answer.UpdatedAt,
    CertificateArn: answer.CertificateArn,
    Records: [record],
    Written: { [record.Name]: { HostedZoneId, Account, At: WrittenAt, InSyncAt } },
    NextLookAt: answer.NextAttemptAt,
  };
  const view = requestViewOf(request, {
    hasZones: true,
    now: () => new Date(answer.UpdatedAt),
    requestStateMachineArn:
      'arn:aws:states:eu-west-1:111122223333:stateMachine:acm-export-certificate-request',
  });
  const [id] = view.Deployments.map(({ DeploymentId }) => DeploymentId);
  expect(answer).toEqual({
    ...view,
    ExecutionArn: expect.stringMatching(/:execution:acm-export-certificate-request:request-…$/),
    Deployments: [{ ...view.Deployments[0], DeploymentId: expect.stringMatching(/^[0-9a-f]{24}$/) }],
  });
  expect(id).toMatch(/^[0-9a-f]{24}$/);
  expect(Object.keys(answer)).toEqual(Object.keys(view));
  expect(answer.Reason).toBe(REQUEST_REASONS.written);
});

test('each reason of ACM that is named is one that the functions know', () => {
  const rows = rowsOf(section(PAGE, 'Refusals and failures')).filter((row) => row.length === 2);
  const named = rows.flatMap(([cell]) => codes(cell)).filter((code = '') => /^[A-Z_]{6,}$/.test(code));
  expect(named.length).toBeGreaterThan(4);
  const known = { ...FAILURE_REASONS, ...TERMINAL_STATUSES };
  expect(named.filter((name = '') => !(name in known))).toEqual([]);
});

describe('the rules that are shown', () => {
  const [, text = ''] =
    /ParameterKey=RequestRules,ParameterValue="([^"]+)"'/.exec(section(PAGE, 'Which names')) ?? [];
  const rules = parseRules(text);

  test('are those of the table, and the parameter takes them', () => {
    const { AllowedPattern, MaxLength } = writtenTemplate('template.yaml').Parameters.RequestRules;
    expect(text).toMatch(new RegExp(AllowedPattern));
    expect(section(PAGE, 'Limits')).toContain(
      `\`RequestRules\` has at most ${MaxLength.toLocaleString('en')} `,
    );
    const table = rowsOf(section(PAGE, 'Which names')).slice(1);
    expect(firstCodes(table)).toEqual(text.split(',').sort());
  });

  test.each([
    ['shop', 'shop.example.com', true],
    ['shop', '*.shop.example.com', true],
    ['shop', 'www.shop.example.com', false],
    ['shop2', 'shop.example.com', false],
    ['web-1', 'a.web.example.com', true],
    ['web-1', 'a.b.web.example.com', true],
    ['web-1', 'web.example.com', false],
    ['web-1', '*.web.example.com', false],
    ['web-1', '*.a.web.example.com', false],
    ['web-1', 'badweb.example.com', false],
    ['web', 'a.web.example.com', false],
  ])('under %s: %s, as the table says (%s)', (name, domain, isAllowed) => {
    expect(notAllowed(rules, name, [domain])).toEqual(isAllowed ? [] : [domain]);
  });
});

test('the parameters of dns-account.yaml are explained, each once, and no others', () => {
  const rows = rowsOf(section(PAGE, 'Which zones')).slice(1);
  const { Parameters } = writtenTemplate('dns-account.yaml');
  expect(rows.flatMap(([cell]) => codes(cell)).sort()).toEqual(Object.keys(Parameters).sort());
  for (const name of Object.keys(Parameters)) expect(section(PAGE, 'Which zones')).toContain(`${name}=`);
});

test('the page names no amount of money', () => {
  expect(read(PAGE)).not.toMatch(/\$\s?\d|\d+(\.\d+)? (dollars|cents|USD)/);
});
