import { describe, expect, test } from '@jest/globals';
import {
  type Answer,
  answerText,
  correlationIdOf,
  dataOf,
  heldOf,
  isMadeBy,
  leavesNothing,
  nothingOf,
  physicalIdOf,
  type Registered,
  readProperties,
  requestsSeenIn,
  standingOf,
} from '../../functions/domain/deployment-resource.ts';
import { DeploymentBody, INSTALL_OPTIONS } from '../../functions/domain/order.ts';
import { PATTERNS, whole } from '../../functions/domain/patterns.ts';

const ARN = 'arn:aws:acm:eu-west-1:111122223333:certificate/11112222-3333-4444-5555-666677778888';
const NEEDED = { CertName: 'web', CertificateArn: ARN, TargetTagKey: 'acm-export', TargetTagValue: 'web' };

const TO_READERS = { Delivery: 'secret', ReaderRoleArns: ['arn:aws:iam::111122223333:role/reader'] };

describe('properties', () => {
  const wishOf = (properties: object) => {
    const read = readProperties({ ServiceToken: 'arn:aws:lambda:…', ...NEEDED, ...properties });
    if ('fault' in read) throw new Error(read.fault);
    return read.wish;
  };

  test('that are left out have the default of the API, and account and Region of the certificate', () => {
    const { order, waitSeconds, timeoutSeconds, adopts } = wishOf({});
    const { DryRun: _, ...defaults } = DeploymentBody.parse({ ...NEEDED });
    expect(order).toEqual({ ...defaults, TargetAccount: '111122223333', TargetRegion: 'eu-west-1' });
    expect([waitSeconds, timeoutSeconds, adopts]).toEqual([600, 3600, false]);
  });

  test('every option of an order is taken as CloudFormation hands it on: numbers and booleans as texts', () => {
    const asText = (value: unknown): unknown => (Array.isArray(value) ? value : String(value));
    // These belong to the other Delivery.
    const { ReaderRoleArns: _, BundleFormats: __, ...shape } = DeploymentBody.shape;
    const examples = Object.entries(shape).filter(([name]) => name !== 'DryRun' && name !== 'CertName');
    const given = examples.map(
      ([name, schema]) => [name, (schema.meta()?.examples as unknown[] | undefined)?.[0]] as const,
    );
    const order = wishOf(Object.fromEntries(given.map(([name, value]) => [name, asText(value)]))).order;
    expect(order).toMatchObject(Object.fromEntries(given));
    expect(given.length).toBeGreaterThan(Object.keys(INSTALL_OPTIONS).length);
  });

  test.each([
    [{ VerifyPort: '443' }, { VerifyPort: 443 }],
    [{ TakeOver: 'true' }, { TakeOver: true }],
    [
      { ...TO_READERS, BundleFormats: ['pkcs12'] },
      { ...TO_READERS, BundleFormats: ['pkcs12'] },
    ],
    [{ MaxErrors: '1' }, { MaxErrors: '1' }],
    [{ TargetTagValue: '443' }, { TargetTagValue: '443' }],
    [{ TargetTagValue: 'true' }, { TargetTagValue: 'true' }],
    [{ TargetAccount: '012345678901' }, { TargetAccount: '012345678901' }],
  ])('%j become %j', (properties, order) => {
    expect(wishOf(properties).order).toMatchObject(order);
  });

  test.each([
    [{ WaitSeconds: '0' }, { waitSeconds: 0 }],
    [{ WaitSeconds: '840' }, { waitSeconds: 840 }],
    [{ ServiceTimeout: '60' }, { timeoutSeconds: 60 }],
    [{ Adopt: 'true' }, { adopts: true }],
  ])('%j say how the resource behaves', (properties, wish) => {
    expect(wishOf(properties)).toMatchObject(wish);
  });

  test.each([
    [{ VerfyPort: '443' }, 'VerfyPort: unknown field'],
    [{ VerifyPort: '443x' }, 'VerifyPort: not a number'],
    [{ VerifyPort: '' }, 'VerifyPort: not a number'],
    [{ VerifyPort: '70000' }, 'VerifyPort: at most 65535'],
    [{ TakeOver: 'yes' }, 'TakeOver: not true or false'],
    [{ ReloadServices: 'nginx' }, 'ReloadServices: not a list'],
    [{ WaitSeconds: '841' }, 'WaitSeconds: at most 840'],
    [{ WaitSeconds: '-1' }, 'WaitSeconds: at least 0'],
    [{ WaitSeconds: '1.5' }, 'WaitSeconds: not a number'],
    [{ Adopt: '1' }, 'Adopt: not true or false'],
    [{ DryRun: 'true' }, 'DryRun: no property: a resource describes'],
    [{ CertName: 'a..b' }, 'CertName: no two dots together'],
    [{ CertName: 'web/prod' }, 'CertName: up to 64'],
    [{ TargetTagKey: undefined }, 'TargetTagKey: missing'],
    [{ Delivery: 'secret' }, 'ReaderRoleArns: needed with Delivery secret'],
    [{ constructor: 'x' }, 'constructor: unknown field'],
  ])('%j are refused by name', (properties, fault) => {
    expect(readProperties({ ...NEEDED, ...properties })).toEqual({ fault: expect.stringContaining(fault) });
  });

  test('all faults are told at once', () => {
    const { fault } = readProperties({ VerifyPort: 'x', Other: '1' }) as { fault: string };
    for (const name of ['CertName', 'CertificateArn', 'TargetTagKey', 'VerifyPort', 'Other']) {
      expect(fault).toContain(`${name}: `);
    }
  });

  test.each([null, undefined, 'text', [], 7])('%j are refused', (properties) => {
    expect(readProperties(properties)).toHaveProperty('fault');
  });
});

const asked = { StackId: 'arn:aws:cloudformation:…/shop/1', LogicalResourceId: 'Web', RequestId: 'a0-b1' };
const ID = '0123456789abcdef01234567';

describe('names', () => {
  test('a correlation id has the form that the API takes, whatever the request is called', () => {
    for (const RequestId of ['2c6a1d40-9a1f-4c43-8a0e-5a1f1a0a5b11', 'x'.repeat(500), 'a/b', '']) {
      expect(correlationIdOf({ ...asked, RequestId })).toMatch(whole(PATTERNS.CorrelationId));
    }
  });

  test.each([[{ RequestId: 'other' }], [{ StackId: 'other' }], [{ LogicalResourceId: 'Other' }]])(
    '%j has a correlation id of its own',
    (other) => {
      expect(correlationIdOf({ ...asked, ...other })).not.toBe(correlationIdOf(asked));
    },
  );

  const held = { certName: 'web', deploymentId: ID, mark: '2026-11-28T10:00:00Z' };
  const before = { ...held, certName: 'old', mark: 'adopted' };

  test.each([
    [held],
    [{ ...held, mark: correlationIdOf(asked) }],
    [{ ...held, certName: `a${'.x'.repeat(31)}b`, before }],
  ])('%j is read back from its physical id, of at most 1 KB', (one) => {
    const id = physicalIdOf(one);
    expect(heldOf(id)).toEqual(one);
    expect(id.length).toBeLessThan(1024);
  });

  test('of what was replaced twice only the last step is kept', () => {
    const older = { ...before, before: { ...held, certName: 'oldest' } };
    expect(heldOf(physicalIdOf({ ...held, before: older }))).toEqual({ ...held, before });
  });

  test.each([undefined, '', 'shop-Web-1A2B3C', nothingOf(asked), `web/${ID}`, `web/${ID}/a b`, `/${ID}/x`])(
    '%j stands for nothing',
    (id) => {
      expect(heldOf(id)).toBeUndefined();
    },
  );
});

const deployment: Registered = {
  ...NEEDED,
  ...DeploymentBody.parse(NEEDED),
  CertName: 'web',
  DeploymentId: ID,
  TargetAccount: '111122223333',
  TargetRegion: 'eu-west-1',
  Status: 'INSTALLED',
  CreatedAt: '2026-11-28T10:00:00Z',
  Reason: 'Nothing is to be done.',
  EarliestNotAfter: '2027-01-01T00:00:00Z',
  LastRollout: { CorrelationId: 'c', Number: 7, At: '2026-11-28T10:05:00Z' },
};

describe('how it stands', () => {
  test.each([
    ['INSTALLED', {}, 'settled'],
    ['WAITING', { Status: 'WAITING' }, 'settled'],
    ['DEGRADED: the others are served', { Status: 'DEGRADED', LastError: 'one is off' }, 'settled'],
    ['a rollout that runs', { Status: 'ROLLING_OUT' }, 'underway'],
    ['another rollout before', { Pending: { CorrelationId: 'd' } }, 'underway'],
    ['a rollout before that one', { LastRollout: { CorrelationId: 'c', Number: 6, At: '' } }, 'underway'],
    ['none yet', { Status: 'WAITING', LastRollout: undefined }, 'underway'],
    ['paused after its end', { PausedAt: 'x' }, 'settled'],
  ])('%s', (_name, change, is) => {
    expect(standingOf({ ...deployment, ...change } as Registered, 7)).toEqual({ is });
  });

  const pending = { Pending: { CorrelationId: 'd' } };
  test.each([
    ['being deleted', { Status: 'DELETING' }, /^It is being deleted\. Where: account 111122223333/],
    [
      'paused',
      { ...pending, PausedAt: '2026-11-28T10:01:00Z' },
      /^It was paused at 2026-11-28T10:01:00Z: resume it/,
    ],
    [
      'frozen',
      { ...pending, Reason: 'All rollouts are frozen since …' },
      /^All rollouts are frozen since … Deploy the stack again/,
    ],
    [
      'off',
      { ...pending, Reason: 'This stack starts no rollouts now: its parameter RolloutsEnabled is false.' },
      /RolloutsEnabled is false\. Deploy the stack again/,
    ],
    [
      'failed',
      {
        Status: 'FAILED',
        LastError: 'InstallationFailed: i-1 is broken',
        FailingSince: '2026-11-28T10:04:00Z',
      },
      /^The rollout of certificate web failed: InstallationFailed: i-1 is broken\. Where: account 111122223333, Region eu-west-1, servers tagged acm-export=web, deployment 0123456789abcdef01234567\. Since: 2026-11-28T10:04:00Z\. What to do: Read the error of each server/,
    ],
    [
      'failed, for a reason that has advice of its own',
      { Status: 'FAILED', LastError: 'TargetNotPrepared: no documents' },
      /What to do: Deploy or update member-account\.yaml/,
    ],
    [
      'failed with a text that is too long',
      { Status: 'FAILED', LastError: 'x'.repeat(2000) },
      /failed: x{899}… Where: .* What to do: Read the error of each server/,
    ],
  ])('%s is said in words', (_name, change, reason) => {
    const standing = standingOf({ ...deployment, ...change } as Registered, 7);
    expect(standing).toEqual({ is: 'failed', reason: expect.stringMatching(reason) });
  });

  test('what Fn::GetAtt gives is no secret, and all of it is text', () => {
    expect(dataOf({ ...deployment, Serial: '0a' })).toEqual({
      DeploymentId: ID,
      CertName: 'web',
      Status: 'INSTALLED',
      Serial: '0a',
      EarliestNotAfter: '2027-01-01T00:00:00Z',
    });
  });
});

describe('whose it is', () => {
  const held = { certName: 'web', deploymentId: ID, mark: deployment.CreatedAt };

  test.each([
    [true, held],
    [true, { ...held, mark: 'c' }],
    [false, { ...held, mark: '2026-11-28T10:00:01Z' }],
    [false, { ...held, mark: '2026-11-28T09:59:59Z' }],
    [false, { ...held, mark: 'adopted' }],
  ])('%s for %j', (isMade, one) => {
    expect(isMadeBy(one, deployment)).toBe(isMade);
  });

  test('the earliest request comes first: it has registered it', () => {
    const [Rollout, Pending] = [{ CorrelationId: 'b' }, { CorrelationId: 'd' }];
    expect(requestsSeenIn({ ...deployment, Rollout, Pending })).toEqual(['c', 'b', 'd']);
    const trial = { CorrelationId: 'b', Cause: 'DRY_RUN' };
    expect(requestsSeenIn({ ...deployment, Rollout: trial, Pending })).toEqual(['c', 'd']);
  });
});

test('only of what it has registered itself there is something to delete', () => {
  const held = { certName: 'web', deploymentId: ID, mark: deployment.CreatedAt };
  const ids = [
    nothingOf(asked),
    physicalIdOf({ ...held, mark: 'adopted' }),
    physicalIdOf(held),
    'shop-Web-1A2B',
  ];
  expect(ids.map(leavesNothing)).toEqual([true, true, false, false]);
});

describe('an answer', () => {
  const answer: Answer = { ...asked, Status: 'FAILED', PhysicalResourceId: 'p', Reason: '' };

  test.each([
    ['ASCII', 'x'],
    ['of several bytes', 'ü'],
    ['of several units', '🔒'],
    ['that JSON escapes', '\u0001'],
  ])('has at most 4,096 bytes, and uses them, for a reason of characters %s', (_name, character) => {
    const text = answerText({ ...answer, Reason: character.repeat(5000) });
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(4096);
    expect(Buffer.byteLength(text)).toBeGreaterThan(4070);
    const { Reason, ...rest } = JSON.parse(text);
    expect(Reason.isWellFormed()).toBe(true);
    expect(rest).toEqual({ ...asked, Status: 'FAILED', PhysicalResourceId: 'p' });
  });

  test('that fits stays as it is', () => {
    expect(JSON.parse(answerText({ ...answer, Reason: 'why' })).Reason).toBe('why');
  });
});
