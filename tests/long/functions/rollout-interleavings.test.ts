import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { deploymentIdOf, parseExecutionName } from '../../../functions/domain/deployment.ts';
import { lasting } from '../../../functions/domain/freeze.ts';
import { followUpOf } from '../../../functions/domain/next.ts';
import { type Actor, type Around, type Crash, interleave } from '../../functions/support/interleave.ts';
import { type ApiAnswer, MEMBER, REGION, System } from '../../functions/support/system.ts';

/** ROLLOUT_RUNS=2000 ROLLOUT_SEED=$RANDOM looks further than there is time for each time. */
const RUNS = Number(process.env.ROLLOUT_RUNS ?? 25);
const SEED = Number(process.env.ROLLOUT_SEED ?? 20261124);

type Certificate = 'web' | 'other';

type Deed =
  | { kind: 'POST'; certificate: Certificate; port: 443 | 8443 }
  | { kind: 'TRY'; certificate: Certificate }
  | { kind: 'DELETE' }
  | { kind: 'ROLLOUTS' }
  | { kind: 'PAUSE' }
  | { kind: 'RESUME' }
  | { kind: 'FREEZE' }
  | { kind: 'THAW' }
  | { kind: 'EVENT'; certificate: Certificate; renew: boolean; lost: boolean }
  | { kind: 'STEP' }
  | { kind: 'ABORT'; lost: boolean }
  | { kind: 'RECONCILE'; task: 'nodes' | 'certificates' };

type Round = {
  deeds: { deed: Deed; crash: Crash | undefined }[];
  choices: number[];
  minutes: number;
  nodeWorks: boolean;
};

const certificate = fc.constantFrom<Certificate>('web', 'other');
const deed: fc.Arbitrary<Deed> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('POST' as const),
      certificate,
      port: fc.constantFrom<443 | 8443>(443, 8443),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('TRY' as const), certificate }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'DELETE' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'ROLLOUTS' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'PAUSE' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'RESUME' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'FREEZE' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'THAW' as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('EVENT' as const),
      certificate,
      renew: fc.boolean(),
      lost: fc.boolean(),
    }),
  },
  { weight: 6, arbitrary: fc.constant({ kind: 'STEP' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('ABORT' as const), lost: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('RECONCILE' as const),
      task: fc.constantFrom<'nodes' | 'certificates'>('nodes', 'certificates'),
    }),
  },
);
const crash = fc.option(
  fc.record({
    call: fc.integer({ min: 1, max: 8 }),
    when: fc.constantFrom<'before' | 'after'>('before', 'after'),
  }),
  { freq: 4, nil: undefined },
);
const history: fc.Arbitrary<Round[]> = fc.array(
  fc.record({
    deeds: fc.array(fc.record({ deed, crash }), { minLength: 1, maxLength: 3 }),
    choices: fc.array(fc.nat(5), { minLength: 1, maxLength: 12 }),
    minutes: fc.constantFrom(0, 1, 20, 90),
    nodeWorks: fc.boolean(),
  }),
  { minLength: 2, maxLength: 10 },
);

/** What may be registered now: an order, or nothing. */
type Possible = Set<string>;
const NOTHING = 'nothing';
const orderKey = (arn: string | undefined, port: number | undefined) => `${arn} ${port}`;

class World {
  readonly system: System;
  readonly arns = new Map<Certificate, string>();
  readonly faults: string[] = [];
  possible: Possible = new Set([NOTHING]);
  readonly id = deploymentIdOf(
    { TargetAccount: MEMBER, TargetRegion: REGION, TargetTagKey: 'acm-export', TargetTagValue: 'web' },
    'web-prod',
  );
  /** After a deletion or an abort an installation that still runs may overlap with the next. */
  #mayOverlap = false;

  constructor(system: System) {
    this.system = system;
  }

  static async create(): Promise<World> {
    const system = await System.create();
    const world = new World(system);
    const target = system.target();
    await target.addNode('i-00000001');
    system.before('StartAutomationExecution', ({ ClientToken }: { ClientToken: string }) => {
      const others = target
        .automations()
        .filter((one) => one.endedAt === undefined && one.clientToken !== ClientToken.toLowerCase());
      if (others.length > 0 && !world.#mayOverlap) {
        world.faults.push('an installation began while another one of the deployment was running');
      }
    });
    for (const name of ['web', 'other'] as const) {
      world.arns.set(name, await world.system.acm.issue(name));
    }
    return world;
  }

  /** The highest number so far; every write was answered with one that is not lower than those before. */
  #highestNumber(): number {
    let highest = 0;
    for (const { output } of this.system.cloud.record.callsOf('UpdateItem')) {
      const { Attributes } = (output ?? {}) as { Attributes?: Record<string, { S?: string; N?: string }> };
      if (Attributes?.Item?.S !== 'deployment') continue;
      const number = Number(Attributes.RolloutNumber?.N);
      if (number < highest) this.faults.push(`RolloutNumber went back from ${highest} to ${number}`);
      highest = number;
    }
    return highest;
  }

  async play({ deeds, choices, minutes, nodeWorks }: Round): Promise<void> {
    const { system } = this;
    system.advance({ minutes });
    const [node] = system.target().nodes;
    Object.assign(node as object, { behaviour: nodeWorks ? 'installs' : 'failed' });
    this.#mayOverlap ||= deeds.some(({ deed }) => deed.kind === 'DELETE' || deed.kind === 'ABORT');
    let step = 0;
    const choose = (of: number) => {
      step += 1;
      return of === 0 ? 0 : (choices[step % choices.length] as number) % of;
    };
    const actors = deeds.map(({ deed, crash }): Actor => ({ run: this.#actor(deed), crash }));
    const isFrozen = lasting(await system.inventory.freezes.get()) !== undefined;
    const before = await this.#rollouts();
    const endings = await interleave(actors, choose);
    if (isFrozen && !deeds.some(({ deed }) => deed.kind === 'THAW') && (await this.#rollouts()) > before) {
      this.faults.push('a rollout began or started although all were frozen');
    }
    const certain: string[] = [];
    const perhaps: string[] = [];
    endings.forEach((ending, index) => {
      const effect = this.#effectOf((deeds[index] as Round['deeds'][number]).deed);
      if (ending === 'crashed') {
        perhaps.push(...effect);
      } else if ('error' in ending) {
        this.faults.push(`${(deeds[index] as Round['deeds'][number]).deed.kind}: ${ending.error}`);
      } else {
        const { status } = (ending.value ?? {}) as Partial<ApiAnswer>;
        if (status !== undefined && status < 300) {
          certain.push(...effect);
        } else if (status !== undefined && ![404, 409].includes(status)) {
          this.faults.push(`a request was answered with ${status}`);
        }
      }
    });
    this.possible = new Set([...(certain.length > 0 ? certain : this.possible), ...perhaps]);
  }

  /** How many have begun, and how many were started. */
  async #rollouts(): Promise<number> {
    const begun = this.system.cloud.record
      .callsOf('UpdateItem')
      .filter(({ input, output }) => output && JSON.stringify(input).includes('"#Running":"Running"'))
      .filter(({ input }) =>
        /#Running = /.test(String((input as { UpdateExpression: string }).UpdateExpression)),
      );
    return begun.length + this.system.sfn.executions.size;
  }

  /** What a deed leaves registered, if it does anything. */
  #effectOf(done: Deed): string[] {
    if (done.kind === 'POST') {
      return [orderKey(this.arns.get(done.certificate), done.port)];
    }
    return done.kind === 'DELETE' ? [NOTHING] : [];
  }

  #actor(done: Deed): (around: Around) => Promise<unknown> {
    const { system } = this;
    return async (around) => {
      switch (done.kind) {
        case 'POST': {
          const CertificateArn = this.arns.get(done.certificate);
          return system.register({ CertificateArn, VerifyPort: done.port }, { around });
        }
        case 'TRY': {
          const CertificateArn = this.arns.get(done.certificate);
          return system.register({ CertificateArn, VerifyPort: 9443, DryRun: true }, { around });
        }
        case 'DELETE':
          return system.remove(this.id, { around });
        case 'ROLLOUTS': {
          return system.rollouts(this.id, { around });
        }
        case 'PAUSE':
        case 'RESUME':
          return system.api(
            'POST',
            `/certificates/{CertName}/deployments/{DeploymentId}/${done.kind.toLowerCase()}`,
            { path: { CertName: 'web-prod', DeploymentId: this.id } },
            { around },
          );
        case 'FREEZE':
          return system.freeze('a test', undefined, { around });
        case 'THAW':
          return system.thaw(undefined, { around });
        case 'EVENT': {
          const arn = this.arns.get(done.certificate) as string;
          if (done.renew) {
            await system.acm.renew(arn);
          }
          // RetryLater is Lambda's to act on, and here it never does: that is what reconcile is for.
          return done.lost ? undefined : system.renewal(arn, {}, { around }).catch(() => undefined);
        }
        case 'STEP': {
          const running = system.sfn.running();
          const chosen = running[system.sfn.executions.size % Math.max(1, running.length)];
          return chosen && void (await system.step(chosen.arn, { around }));
        }
        case 'ABORT': {
          const execution = system.sfn.running()[0];
          if (execution) {
            system.sfn.end(execution.arn, 'ABORTED');
            await (done.lost ? undefined : system.report(system.executionEvent(execution), { around }));
          }
          return undefined;
        }
        case 'RECONCILE': {
          const { Errors } = await system.reconcile(done.task, { around });
          if (Errors > 0) {
            this.faults.push('reconcile met an error');
          }
          return undefined;
        }
      }
    };
  }

  /** What time, schedules, and the end of a freeze and of a pause do by themselves. */
  async settle(): Promise<void> {
    const { system } = this;
    await this.#actor({ kind: 'THAW' })((call) => call());
    await this.#actor({ kind: 'RESUME' })((call) => call());
    Object.assign(system.target().nodes[0] as object, { behaviour: 'installs' });
    await system.runAll();
    for (let pass = 0; pass < 3; pass += 1) {
      system.advance({ hours: 25 });
      await system.reconcile('certificates');
      await system.runAll();
      await system.reconcile('nodes');
      await system.runAll();
    }
  }

  async expectPromise(): Promise<void> {
    const { system } = this;
    const highest = this.#highestNumber();
    expect(this.faults).toEqual([]);
    const found = await system.inventory.get(this.id);
    const registered = found?.Wanted ? orderKey(found.CertificateArn, found.Options.VerifyPort) : NOTHING;
    expect([...this.possible]).toContain(registered);
    expect(system.sfn.running()).toEqual([]);
    // A bundle lives as long as its deployment.
    for (const { deletionDate, policy, versions } of system.target().secrets()) {
      expect([deletionDate === undefined, policy !== undefined, versions.size > 0]).toEqual([
        found !== undefined,
        true,
        true,
      ]);
    }
    for (const { name } of system.sfn.executions.values()) {
      expect(parseExecutionName(name)?.rolloutNumber).toBeLessThanOrEqual(highest);
    }
    expect([found?.Running, found && followUpOf(found)]).toEqual([undefined, undefined]);
    if (!found?.Wanted) {
      // A node that serves something got it before a DELETE, and no dry run put it there.
      expect(system.target().nodes[0]?.installed?.options ?? '').not.toContain('9443');
      return;
    }
    expect(found).toMatchObject({ Status: 'INSTALLED', Observed: { Failures: 0 } });
    expect(found.DryRunOnly).toBeUndefined();
    const serial = system.acm.serialOf(found.CertificateArn);
    expect(found.Serial).toBe(serial);
    expect(system.target().nodes[0]?.installed).toMatchObject({
      Serial: serial,
      options: `VerifyPort=${found.Options.VerifyPort} KeyFormat=decrypted`,
    });
  }
}

test('whatever order calls, crashes and events come in: one rollout at a time, nothing lost, nothing stuck', async () => {
  await fc.assert(
    fc.asyncProperty(history, async (rounds) => {
      const world = await World.create();
      for (const round of rounds) {
        await world.play(round);
      }
      await world.settle();
      await world.expectPromise();
    }),
    { numRuns: RUNS, seed: SEED },
  );
});
