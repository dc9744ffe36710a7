import type { Identity } from 'local-cloud';
import { CENTRAL } from '../../local/example-fleet.ts';
import { allow, type Scene, STRANGER } from './scene.ts';
import { type Answer, type HttpRequest, send, sign } from './signed-calls.ts';

/** Who calls the API, and how the request differs from an honest one. */
export type Call = [promise: string, send: (scene: Scene) => Promise<Answer>];

const MINUTE_MS = 60_000;
const scope = { region: CENTRAL.region, service: 'execute-api' };
const path = ({ flows }: Scene, rest: string) => `${new URL(flows.site.central.apiUrl).pathname}${rest}`;

/** An honest request of a caller. */
export async function callApiAs(
  scene: Scene,
  identity: Identity,
  method: string,
  rest: string,
  body?: object,
): Promise<Answer> {
  const request = { method, path: path(scene, rest), ...(body ? { body: JSON.stringify(body) } : {}) };
  return send(scene.cloud, await sign(scene.cloud, identity, scope, request));
}

/** A request of the operator, who may call everything, altered on its way. */
async function altered(
  scene: Scene,
  request: Omit<HttpRequest, 'path'> & { rest: string },
  alter: (signed: HttpRequest) => Partial<HttpRequest>,
): Promise<Answer> {
  const { rest, ...others } = request;
  const { operator } = scene.flows.site;
  const signed = await sign(scene.cloud, operator, scope, { ...others, path: path(scene, rest) });
  return send(scene.cloud, { ...signed, ...alter(signed) });
}

const list = { method: 'GET', rest: '/certificates/web/deployments' };

/** None of these may come as far as the function. */
export const refusedCallers: Call[] = [
  [
    'a caller without a signature is refused',
    (scene) => send(scene.cloud, { method: 'GET', path: path(scene, list.rest) }),
  ],
  [
    'a caller without permission is refused',
    (scene) => callApiAs(scene, scene.cloud.createUser(CENTRAL.account, 'nobody', []), 'GET', list.rest),
  ],
  [
    'a caller of another account is refused, whatever that account allows',
    (scene) =>
      callApiAs(
        scene,
        scene.cloud.createUser(STRANGER, 'caller', [allow('execute-api:Invoke')]),
        'GET',
        list.rest,
      ),
  ],
  ['a node is no caller', (scene) => callApiAs(scene, scene.flows.production.identity(), 'GET', list.rest)],
  [
    'a function of this stack is no caller',
    (scene) => callApiAs(scene, scene.functions.reconcile, 'GET', list.rest),
  ],
  [
    'a signature of twenty minutes ago is refused',
    async (scene) => {
      const date = new Date(Date.now() - 20 * MINUTE_MS);
      const { operator } = scene.flows.site;
      const request = { method: 'GET', path: path(scene, list.rest) };
      return send(scene.cloud, await sign(scene.cloud, operator, { ...scope, date }, request));
    },
  ],
  [
    'a signature for tomorrow is refused',
    async (scene) => {
      const date = new Date(scene.cloud.clock.now().getTime() + 24 * 60 * MINUTE_MS);
      const { operator } = scene.flows.site;
      const request = { method: 'GET', path: path(scene, list.rest) };
      return send(scene.cloud, await sign(scene.cloud, operator, { ...scope, date }, request));
    },
  ],
  [
    'a body that was altered on its way is refused',
    (scene) =>
      altered(scene, { method: 'POST', rest: list.rest, body: '{"DryRun":true}' }, () => ({
        body: '{"DryRun":null}',
      })),
  ],
  [
    'a path that was altered on its way is refused',
    (scene) => altered(scene, list, ({ path }) => ({ path: path.replace('/web/', '/payments/') })),
  ],
  [
    'a method that was altered on its way is refused',
    (scene) => altered(scene, list, () => ({ method: 'POST' })),
  ],
  [
    'a query that was altered on its way is refused',
    (scene) =>
      altered(scene, { method: 'GET', rest: '/deployments', query: { Limit: '1' } }, () => ({
        query: { Limit: '100' },
      })),
  ],
  [
    'a signature for another service is refused',
    async (scene) => {
      const request = { method: 'GET', path: path(scene, list.rest) };
      const elsewhere = { ...scope, service: 'ssm' };
      return send(scene.cloud, await sign(scene.cloud, scene.flows.site.operator, elsewhere, request));
    },
  ],
  [
    'a signature for another Region is refused',
    async (scene) => {
      const request = { method: 'GET', path: path(scene, list.rest) };
      const elsewhere = { ...scope, region: 'us-east-1' };
      return send(scene.cloud, await sign(scene.cloud, scene.flows.site.operator, elsewhere, request));
    },
  ],
  [
    'temporary credentials without their session token are refused',
    (scene) => {
      const { sessionToken: _, ...credentials } = scene.functions['deployments-api'].credentials;
      return callApiAs(scene, { ...scene.functions['deployments-api'], credentials }, 'GET', list.rest);
    },
  ],
  ['credentials that have expired are refused', (scene) => callApiAs(scene, scene.expired, 'GET', list.rest)],
  [
    "a signature with another caller's access key is refused",
    async (scene) => {
      const { operator } = scene.flows.site;
      const mixed = {
        ...operator,
        credentials: {
          ...scene.stranger.credentials,
          accessKeyId: operator.credentials.accessKeyId,
        },
      };
      return callApiAs(scene, mixed, 'GET', list.rest);
    },
  ],
];
