import type { Route53Client } from '@aws-sdk/client-route-53';
import { expect, test } from '@jest/globals';
import { recordsAt } from '../../functions/dns/zones.ts';

test('an alias has no values, and is shown as one', async () => {
  const AliasTarget = { HostedZoneId: 'Z2', DNSName: 'd1.cloudfront.net.', EvaluateTargetHealth: false };
  const ResourceRecordSets = [
    { Name: 'www.example.com.', Type: 'A', AliasTarget },
    { Name: 'www.example.com.', Type: 'TXT', ResourceRecords: [{ Value: '"x"' }] },
    { Name: 'zzz.example.com.', Type: 'A', ResourceRecords: [{ Value: '192.0.2.1' }] },
  ];
  const route53 = { send: async () => ({ ResourceRecordSets }) } as unknown as Route53Client;
  expect(await recordsAt(route53, 'Z1', 'www.example.com')).toEqual([
    { Type: 'A', Values: ['(alias)'] },
    { Type: 'TXT', Values: ['"x"'] },
  ]);
});
