import { certName } from '../functions/domain/order.ts';
import type { Deployment } from './answers.ts';
import type { Api } from './api.ts';
import { Stop } from './exit.ts';

/** How people may name a deployment, for `--help` and docs. */
export const NAMING =
  'NAME is a CertName that has one deployment, CertName/tagKey=tagValue, or the first digits of a DeploymentId.';

/** An id is told from a few digits where they are of one deployment only. */
const LEAST_DIGITS = 4;

/** The one deployment that a person names. @throws Stop with the candidates where there are several. */
export async function chosen(api: Api, name: string): Promise<Deployment> {
  const [only, ...others] = await candidatesOf(api, name);
  if (!only)
    throw new Stop('failed', `There is no deployment ${name}.`, 'See what there is: acm-export list');
  if (others.length === 0) return only;
  throw new Stop(
    'usage',
    `${name} may be any of these ${others.length + 1} deployments:`,
    ...[only, ...others].map(
      (one) =>
        `  ${one.DeploymentId.slice(0, 8)}  ${nameOf(one)}  in ${one.TargetAccount} ${one.TargetRegion}`,
    ),
    'Name one of them by its tag (CertName/tagKey=tagValue) or by the digits in front.',
  );
}

/** Each once, in the order in which they were named. */
export async function chosenAll(api: Api, names: string[]): Promise<Deployment[]> {
  const found = new Map<string, Deployment>();
  for (const name of names) {
    const deployment = await chosen(api, name);
    found.set(deployment.DeploymentId, deployment);
  }
  return [...found.values()];
}

/** `web/acm-export=prod`: what `chosen` takes. */
export const nameOf = ({ CertName, TargetTagKey, TargetTagValue }: Deployment): string =>
  `${CertName}/${TargetTagKey}=${TargetTagValue}`;

async function candidatesOf(api: Api, name: string): Promise<Deployment[]> {
  const slash = name.indexOf('/');
  const first = slash < 0 ? name : name.slice(0, slash);
  const rest = slash < 0 ? undefined : name.slice(slash + 1);
  if (certName.safeParse(first).success) {
    // By its name first: a caller may be allowed to see this name only.
    const ofName = await api.deployments(first);
    const fitting = ofName.filter((one) => rest === undefined || isTargetOf(one, rest));
    if (fitting.length > 0 || rest !== undefined) return fitting;
  }
  if (new RegExp(`^[0-9a-f]{${LEAST_DIGITS},24}$`).test(name)) {
    return (await api.deployments()).filter(({ DeploymentId }) => DeploymentId.startsWith(name));
  }
  if (rest === undefined && certName.safeParse(first).success) return [];
  throw new Stop('usage', `"${name}" names no deployment. ${NAMING}`);
}

const isTargetOf = ({ TargetTagKey, TargetTagValue, DeploymentId }: Deployment, text: string): boolean =>
  text === `${TargetTagKey}=${TargetTagValue}` ||
  (text.length >= LEAST_DIGITS && DeploymentId.startsWith(text));
