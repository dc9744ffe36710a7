import { MINUTE, SECOND, type World } from './world.ts';

/** Something that the docs promise, as it goes from its cause to its end. */
export interface Flow {
  /** What is there before, without faults. */
  before?: (world: World) => Promise<void>;
  does: (world: World) => Promise<void>;
  /** What lacks until all is well, in words; default: what every node lacks to serve the current version. */
  lacks?: (world: World) => Promise<string | undefined>;
  /** Minutes that one fault which passes may add: default 20; where a sweep makes up for it that runs hourly, 80. */
  mayAdd?: number;
  /** A dry run: who asked for it looks at its result. */
  isTrial?: boolean;
}

const HOURLY = 80;

const installed = async (world: World) => {
  await world.register();
  await world.clock.sleep(10 * MINUTE);
};

/** The next look, and the next comparison of certificates, are due soon. */
const untilTheHour = async (world: World) => {
  await installed(world);
  await world.clock.sleep(45 * MINUTE);
};

const renew = (world: World) => world.cloud.services.acm.renew(world.certificateArn);
const act = (world: World, action: 'pause' | 'resume' | 'rollouts') =>
  world.api('POST', `/{DeploymentId}/${action}`);
const remove = (world: World) => world.api('DELETE', '/{DeploymentId}');

async function lacksRemoval(world: World): Promise<string | undefined> {
  const found = await world.deployment();
  if (found) return `the deployment is ${found.Status}`;
  return world.bundles().every(({ deletionDate }) => deletionDate) ? undefined : 'its bundle is still there';
}

export const FLOWS: Record<string, Flow> = {
  'a deployment is registered': { does: (world) => world.register() },
  'ACM renews the certificate': { before: installed, does: renew },
  'ACM renews the certificate and its event is lost': {
    before: untilTheHour,
    does: async (world) => {
      world.cloud.services.events.lose(({ source }) => source === 'aws.acm');
      await renew(world);
    },
    mayAdd: HOURLY,
  },
  'a certificate is requested': {
    before: (world) => world.addZone(),
    does: (world) => world.requestCertificate(),
    lacks: (world) => world.lacksRequested(),
    mayAdd: HOURLY,
  },
  'a node appears': { before: installed, does: (world) => world.addNode() },
  'a rollout is asked for while one runs': {
    before: installed,
    does: async (world) => {
      await renew(world);
      await world.clock.sleep(30 * SECOND);
      await act(world, 'rollouts');
    },
  },
  'the deployment is paused, ACM renews, and it is resumed': {
    before: installed,
    does: async (world) => {
      await act(world, 'pause');
      await renew(world);
      await world.clock.sleep(6 * MINUTE);
      await act(world, 'resume');
    },
  },
  'all rollouts are frozen, ACM renews, and they are thawed': {
    before: installed,
    does: async (world) => {
      await world.freeze();
      const before = world.rollouts();
      await renew(world);
      await world.clock.sleep(6 * MINUTE);
      if (world.rollouts() > before) throw new Error('a rollout began while all were frozen');
      await world.thaw();
    },
  },
  'the deployment moves to another certificate': {
    before: installed,
    does: async (world) => {
      world.certificateArn = await world.addCertificate();
      await world.register();
    },
  },
  'the deployment is tried': {
    before: installed,
    does: (world) => world.register({ VerifyPort: 8443, DryRun: true }),
    lacks: async (world) => {
      const found = await world.deployment();
      const trial = found?.LastTrial as { Outcome?: string } | undefined;
      return trial?.Outcome ? world.lacks() : 'the trial has no outcome';
    },
    isTrial: true,
    mayAdd: HOURLY,
  },
  'the certificate is delivered by secret': {
    before: async (world) => world.addReader(),
    does: (world) => world.registerSecret(),
    lacks: (world) => world.lacksSecret(),
  },
  'ACM renews a certificate that is delivered by secret': {
    before: async (world) => {
      world.addReader();
      await world.registerSecret();
      await world.clock.sleep(10 * MINUTE);
    },
    does: renew,
    lacks: (world) => world.lacksSecret(),
  },
  'a look finds a damaged node': {
    before: untilTheHour,
    does: async (world) => {
      world.nodes[0]?.drift.set('web', 'damaged');
    },
    lacks: async (world) => (world.nodes[0]?.drift.size ? 'the node is damaged' : world.lacks()),
    mayAdd: HOURLY,
  },
  'a node fails, and is mended': {
    before: async (world) => {
      await installed(world);
      const [node] = world.nodes;
      if (node) node.behaviour = 'rolled-back';
    },
    does: async (world) => {
      await renew(world);
      await world.clock.sleep(10 * MINUTE);
      const [node] = world.nodes;
      if (node) node.behaviour = 'installs';
    },
    mayAdd: HOURLY,
  },
  'the deployment is deleted': {
    before: installed,
    does: remove,
    lacks: lacksRemoval,
    mayAdd: HOURLY,
  },
  'the deployment is deleted while it is rolled out, and registered again': {
    does: async (world) => {
      await world.register();
      await world.clock.sleep(30 * SECOND);
      await remove(world);
      await world.register();
    },
  },
};
