import type { Cloud } from 'local-cloud';
import type { Statement } from 'local-cloud/iam';

const FUNCTIONS = ['write-validation-records', 'deployments-api'];

/** The role of dns-account.yaml. */
export function addDnsRole(
  cloud: Cloud,
  account: string,
  {
    central,
    region,
    externalId,
    zones,
  }: { central: string; region: string; externalId: string; zones: string[] },
): void {
  const key = (name: string) => `route53:ChangeResourceRecordSets${name}`;
  const Resource = zones.map((id) => `arn:aws:route53:::hostedzone/${id}`);
  const allow = (Action: string[], to: string | string[], Condition?: Statement['Condition']): Statement => ({
    Effect: 'Allow',
    Action,
    Resource: to,
    ...(Condition ? { Condition } : {}),
  });
  cloud.services.identities.createRole(account, {
    name: `acm-export-validation-records-${region}`,
    path: '/',
    trustPolicy: {
      Version: '2012-10-17',
      Statement: FUNCTIONS.map((name) => ({
        Effect: 'Allow' as const,
        Principal: { AWS: `arn:aws:iam::${central}:root` },
        Action: 'sts:AssumeRole',
        Condition: {
          ArnEquals: { 'aws:PrincipalArn': `arn:aws:iam::${central}:role/acm-export-${name}-${region}` },
          StringEquals: { 'sts:ExternalId': externalId },
          StringLike: { 'sts:RoleSessionName': `${name}-*` },
        },
      })),
    },
    inlinePolicies: [
      {
        Version: '2012-10-17',
        Statement: [
          allow(['route53:ListHostedZonesByName'], '*'),
          allow(['route53:GetHostedZone', 'route53:ListResourceRecordSets'], Resource),
          allow(['route53:GetChange'], 'arn:aws:route53:::change/*'),
          allow(['route53:ChangeResourceRecordSets'], Resource, {
            StringLike: { 'aws:userid': '*:write-validation-records-*' },
            'ForAllValues:StringLike': { [key('NormalizedRecordNames')]: ['_*'] },
            'ForAllValues:StringEquals': { [key('RecordTypes')]: ['CNAME'], [key('Actions')]: ['UPSERT'] },
            Null: {
              [key('NormalizedRecordNames')]: 'false',
              [key('RecordTypes')]: 'false',
              [key('Actions')]: 'false',
            },
          }),
        ],
      },
    ],
  });
}
