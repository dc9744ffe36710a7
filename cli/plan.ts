import { isDeepStrictEqual } from 'node:util';
import { stringify } from 'yaml';
import type { FlatOrder } from '../functions/domain/order.ts';
import { changesOf, DEFAULTS, FIELDS, type FieldChange } from '../functions/domain/order-changes.ts';
import type { Deployment } from './answers.ts';
import type { Entry } from './file.ts';

export interface Step {
  action: 'create' | 'update' | 'none' | 'remove' | 'leave';
  order: FlatOrder;
  deploymentId: string;
  fields: FieldChange[];
  entry?: Entry;
  current?: Deployment;
}

/** Only tried, or on its way out: neither is a standing order. */
export const isStanding = ({ Status }: Deployment): boolean => Status !== 'TRIED' && Status !== 'DELETING';

/**
 * What is to be done so that what is registered is as the file says.
 *
 * @param registered every deployment of the names in the file.
 * @param isPruned whether what the file does not have is removed. Only deployments of a CertName that the file has are looked
 *   at: what another file or another team registered under its own names is not in danger.
 */
export function planOf(entries: Entry[], registered: Deployment[], isPruned: boolean): Step[] {
  const standing = new Map(registered.filter(isStanding).map((one) => [one.DeploymentId, one]));
  const steps = entries.map((entry): Step => {
    const { deploymentId, order } = entry;
    const current = standing.get(deploymentId);
    if (!current) return { action: 'create', order, deploymentId, fields: [], entry };
    const fields = changesOf(current, order);
    return { action: fields.length > 0 ? 'update' : 'none', order, deploymentId, fields, entry, current };
  });
  const names = new Set(entries.map(({ order }) => order.CertName));
  const inFile = new Set(entries.map(({ deploymentId }) => deploymentId));
  const others = [...standing.values()].filter(
    ({ CertName, DeploymentId }) => names.has(CertName) && !inFile.has(DeploymentId),
  );
  const action = isPruned ? 'remove' : 'leave';
  return [
    ...steps,
    ...others.map(
      (current): Step => ({
        action,
        order: current,
        deploymentId: current.DeploymentId,
        fields: [],
        current,
      }),
    ),
  ];
}

/** A file that says what is registered, with the defaults left out. @param schema where editors find docs/deployments.schema.json */
export function exportOf(registered: Deployment[], schema?: string): string {
  const head = schema === undefined ? '' : `# yaml-language-server: $schema=${schema}\n`;
  return head + stringify({ Deployments: registered.filter(isStanding).map(entryOf) }, { lineWidth: 0 });
}

/** As a person would write it. */
export function entryOf(order: FlatOrder): Record<string, unknown> {
  const [, , , region, account] = order.CertificateArn.split(':');
  const { CertName, CertificateArn, TargetTagKey, TargetTagValue, TargetAccount, TargetRegion } = order;
  const options = FIELDS.filter((name) => name !== 'CertificateArn').flatMap((name) => {
    const value = order[name];
    return value === undefined || isDeepStrictEqual(value, DEFAULTS[name]) ? [] : [[name, value]];
  });
  return {
    CertName,
    CertificateArn,
    TargetTagKey,
    TargetTagValue,
    ...(TargetAccount === account ? {} : { TargetAccount }),
    ...(TargetRegion === region ? {} : { TargetRegion }),
    ...Object.fromEntries(options),
  };
}
