import { expect } from '@jest/globals';
import { requestCertificate } from '../../../local/example-fleet.ts';
import {
  deploy,
  deploymentOf,
  installed,
  order,
  pass,
  plainNode,
  testFleet,
} from '../../end-to-end/test-fleet.ts';
import { needs } from '../../support/needs.ts';

const fleet = testFleet();

// A probe is a dry run, which mounts.
needs('mounts')(
  'three nodes whose roles are not tagged keep a good one from none of six renewals, and are named',
  async () => {
    const { cloud } = fleet();
    const arn = await requestCertificate(fleet(), 'beside', ['beside.example.com']);
    const bad = await Promise.all([1, 2, 3].map(() => plainNode(fleet(), 'beside', { roleTags: {} })));
    const good = await plainNode(fleet(), 'beside');
    const { started, deployment: first } = await deploy(fleet(), 'beside', order(arn, 'beside'));
    expect([first.Status, first.Serial]).toEqual(['DEGRADED', started.Serial]);
    const serials = new Set([first.Serial]);
    for (let renewal = 0; renewal < 6; renewal += 1) {
      await cloud.services.acm.renew(arn);
      await cloud.idle();
      const { Status, Serial, LastError, Nodes } = await deploymentOf(
        fleet(),
        'beside',
        started.DeploymentId,
      );
      const outcomes = new Map<string, string>(
        Nodes.map(({ NodeId, Outcome }: { NodeId: string; Outcome: string }) => [NodeId, Outcome]),
      );
      expect([Status, outcomes.get(good.id)]).toEqual(['DEGRADED', 'installed']);
      for (const { id } of bad) {
        expect(outcomes.get(id)).toBe('refused');
        expect(LastError).toContain(id);
      }
      serials.add(Serial);
    }
    expect(serials.size).toBe(7);
    expect(installed(good, 'beside').certificates()).toBeGreaterThanOrEqual(2);
    expect(bad.map((node) => installed(node, 'beside').exists)).toEqual([false, false, false]);
    await pass(fleet(), 5);
    const messages = cloud.services.sns.messages.filter(({ subject = '' }) => subject.includes('beside'));
    expect(messages.map(({ subject }) => subject)).toEqual([
      expect.stringMatching(/^beside cannot be served on i-[0-9a-f]+: acm-export=beside and 2 more$/),
    ]);
    for (const { id } of bad) expect(messages[0]?.message).toContain(id);
  },
);
