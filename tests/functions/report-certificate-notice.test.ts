import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, test } from '@jest/globals';

import { System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const register = (TargetTagValue = 'web') => system.register({ CertificateArn: arn, TargetTagValue });

describe("ACM's notices", () => {
  const sampleOf = (name: string) =>
    JSON.parse(
      readFileSync(
        path.resolve(import.meta.dirname, `../../events/report-certificate-notice/${name}.json`),
        'utf8',
      ),
    );

  test.each([
    [
      'certificate-renewal-action-required',
      'ACM cannot renew the certificate by itself. 30 days remain.',
      /validation/,
    ],
    ['certificate-expired', 'The certificate has expired.', /Request a new certificate/],
    [
      'certificate-revoked',
      'The certificate was revoked. Clients may refuse it now.',
      /Request a new certificate/,
    ],
    [
      'certificate-approaching-expiration',
      'The certificate expires soon, and ACM has not renewed it yet.',
      /renewal status/,
    ],
  ])('%s becomes one message a day', async (name, what, advice) => {
    await register();
    await register('mail');
    const event = { ...sampleOf(name), resources: [arn] };
    expect(await system.notice(event)).toEqual({ Reported: arn });
    await system.notice(event);
    await system.notice({ ...event, id: 'another-of-the-same-day' });
    expect(system.messages()).toHaveLength(1);
    const [message] = system.messages();
    expect(message?.Subject).toBe(`${event['detail-type']}: web-prod`);
    expect(message?.Message).toContain(what);
    expect(message?.Message).toMatch(advice);
    expect(message?.Message.match(/servers tagged acm-export=(web|mail)/g)).toHaveLength(2);
    await system.notice({ ...event, id: 'the-next-day', time: '2028-01-01T00:00:00Z' });
    expect(system.messages()).toHaveLength(2);
  });

  test.each([
    [
      'of a certificate that is not deployed',
      { resources: ['arn:aws:acm:eu-central-1:111122223333:certificate/x'] },
    ],
    ['without a certificate', { resources: [] }],
    ['of something else', { resources: ['arn:aws:s3:::bucket'] }],
    ['that is none', { 'detail-type': 'ACM Certificate Available' }],
    ['named like a property of every object', { 'detail-type': 'constructor' }],
    ['without a time', { time: 17 }],
  ])('%s are ignored', async (_, change) => {
    await register();
    const event = { ...sampleOf('certificate-expired'), resources: [arn], ...change };
    expect(await system.notice(event)).toEqual({ Ignored: expect.any(String) });
    expect(system.messages()).toEqual([]);
  });

  test.each([null, undefined, 1, 'x', [], {}, { source: 'my.app' }, { source: 'aws.acm', detail: 1 }])(
    '%j is ignored',
    async (event) => {
      expect(await system.notice(event)).toEqual({ Ignored: expect.stringContaining('not an event') });
    },
  );
});
