import { beforeEach, describe, expect, test } from '@jest/globals';
import { actAsOldCentral, type Edition, installMemberRoles } from '../../functions/support/editions.ts';
import { awsError, MEMBER, REGION, System } from '../../functions/support/system.ts';

// Central and member stacks may be one edition apart, in either order, while 200 accounts are updated.

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const target = () => system.target();
const automations = () => target().automations();
const roleNamed = (name: string) => `arn:aws:iam::${MEMBER}:role/acm-export-${name}-${REGION}`;
/** The roles that were taken on to write bundles, by their names, in their order. */
const writersAsked = () =>
  system.sts
    .callsOf('AssumeRole')
    .filter(({ RoleSessionName }) => RoleSessionName.startsWith('export-certificate-'))
    .map(({ RoleArn }) => RoleArn.replace(/.*acm-export-(.*)-eu-central-1$/, '$1'));

async function register(body: object = {}): Promise<string> {
  const answer = await system.register({ CertificateArn: arn, VerifyPort: 443, ...body });
  return answer.body.DeploymentId;
}

/** Its Automation runs until nodes answer. */
async function startOnly(body: object): Promise<void> {
  await register(body);
  const [execution] = system.sfn.running();
  await system.step(execution?.arn ?? '');
  await system.step(execution?.arn ?? '');
}

const old: Edition[] = ['first', 'before'];
const served: [central: 'old' | 'new', member: Edition, asked: string[]][] = [
  ['new', 'this', ['bundle-writer']],
  ['new', 'this, without', ['bundle-writer']],
  ...old.map((member): (typeof served)[number] => ['new', member, ['bundle-writer', 'rollout']]),
  ['old', 'this', ['bundle-writer', 'rollout']],
];

describe.each(served)('a central stack: %s; a member stack: %s', (central, member, asked) => {
  beforeEach(async () => {
    installMemberRoles(system, member);
    if (central === 'old') actAsOldCentral(system);
    await target().addNode('i-00000001');
  });

  test('a certificate is delivered, renewed and installed, as the role that is there for it', async () => {
    const id = await register();
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
    const Serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Serial });
    expect(writersAsked()).toEqual([...asked, ...asked]);
    const isMarked = central === 'new' && member.startsWith('this');
    const mark = isMarked ? { 'acm-export:deployment-id': id } : {};
    expect(automations().map(({ tags }) => tags)).toEqual([mark, mark]);
  });

  test('a DELETE stops the installation and takes the bundle along, and a POST restores it', async () => {
    const id = await register();
    await system.runAll();
    await startOnly({ VerifyPort: 8443 });
    expect((await system.remove(id)).status).toBe(200);
    await system.letNodesAnswer();
    expect(automations().map(({ status }) => status)).toEqual(['Success', 'Cancelled']);
    expect(target().secrets()[0]?.deletionDate).toBeDefined();
    await register();
    await system.runAll();
    expect(target().secrets()[0]?.deletionDate).toBeUndefined();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
  });

  test('an installation that does not end is stopped at its deadline', async () => {
    await register();
    await system.runAll();
    await startOnly({ VerifyPort: 8443 });
    const [execution] = system.sfn.running();
    system.advance({ hours: 3 });
    await system.function('check-installation')(system.inputOf(execution?.arn ?? ''));
    await system.letNodesAnswer();
    expect(automations().at(-1)?.status).toBe('Cancelled');
  });
});

describe('a central stack of an earlier edition', () => {
  test('is refused by a member stack without its grants: the rollout says which roles, and the server keeps what it has', async () => {
    const node = await target().addNode('i-00000001');
    const id = await register();
    await system.runAll();
    const { installed } = node;
    installMemberRoles(system, 'this, without');
    actAsOldCentral(system);
    await system.rollouts(id);
    await system.runAll();
    const { Status, LastError } = await system.deployment(id);
    expect([Status, LastError]).toEqual([
      'FAILED',
      expect.stringContaining(
        `Cannot assume ${roleNamed('bundle-writer')} or ${roleNamed('rollout')}. Check that member-account.yaml is deployed`,
      ),
    ]);
    expect(node.installed).toEqual(installed);
  });
});

describe('a member stack of an earlier edition', () => {
  const told = () => system.messages().filter(({ Subject }) => Subject.startsWith('Old member stack'));
  const hours = async (count: number) => {
    for (let hour = 0; hour < count; hour += 1) {
      await system.reconcile('certificates');
      await system.reconcile('nodes');
      await system.runAll();
      system.advance({ hours: 1 });
    }
  };

  test.each(old)('(%s) is named once a day, until it is updated', async (edition) => {
    const update = installMemberRoles(system, edition);
    await register();
    await register({ TargetTagValue: 'mail' });
    await system.runAll();
    const since = system.clock.now().getTime();
    await hours(24);
    expect(told()).toEqual([
      { Subject: `Old member stack in ${MEMBER}/${REGION}`, Message: expect.any(String) },
    ]);
    const [{ Message = '' } = {}] = told();
    expect(Message).toContain(`Where: ${MEMBER}/${REGION}\n`);
    expect(Message).toMatch(/AWS says: .*acm-export-bundle-writer-eu-central-1/);
    expect(Message).toContain('What to do: Update member-account.yaml there');
    const [, found = ''] = /^Since: (.*)$/m.exec(Message) ?? [];
    expect(Date.parse(found) - since).toBeLessThan(24 * 3_600_000);
    await hours(48);
    expect(told()).toHaveLength(3);
    update();
    await hours(48);
    expect(told()).toHaveLength(3);
    expect(await system.inventory.denials.get('member-stacks')).toEqual([]);
  });

  test('is named beside the others of a day in one message, and none that was updated meanwhile', async () => {
    installMemberRoles(system, 'before');
    for (const region of ['eu-west-1', 'us-east-1']) {
      await system.addMember(MEMBER, region);
      await register({ TargetRegion: region });
    }
    await register();
    await system.runAll();
    const writer = (region: string) =>
      system.cloud.services.identities.role(`arn:aws:iam::${MEMBER}:role/acm-export-bundle-writer-${region}`);
    const [west, east] = [writer('eu-west-1'), writer('us-east-1')];
    Object.assign(west as object, { exists: false });
    Object.assign(east as object, { exists: false });
    while ((await system.inventory.denials.get('member-stacks')).length === 0) await hours(1);
    Object.assign(east as object, { exists: true });
    await hours(20);
    expect(told()).toEqual([
      {
        Subject: `Old member stack in ${MEMBER}/${REGION} and 1 more`,
        Message: expect.stringContaining(`Where: ${MEMBER}/${REGION}, ${MEMBER}/eu-west-1\n`),
      },
    ]);
  });

  test.each(['AccessDenied', 'NoSuchEntityException'])('is not named for one answer: %s', async (name) => {
    await register();
    await system.runAll();
    target().iam.failNext('GetRole', awsError(name, 'of IAM, which may be late'));
    await hours(26);
    expect(target().iam.callsOf('GetRole').length).toBeGreaterThan(1);
    expect(system.messages()).toEqual([]);
  });
});
