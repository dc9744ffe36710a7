import { expect, test } from '@jest/globals';
import { frozenText } from '../../functions/domain/freeze.ts';
import { isStandstill, REASONS } from '../../functions/domain/next.ts';
import { requestCertificate } from '../../local/example-fleet.ts';
import { testFleet } from '../end-to-end/test-fleet.ts';
import { command, quickNode, type Surroundings } from './command-line.ts';

const fleet = testFleet({ composed: true });
const cli = (words: string[], around: Surroundings = {}) => command(fleet(), words, around);

async function registered(name: string, tag: string): Promise<void> {
  const arn = await requestCertificate(fleet(), name, [`${name}.example.com`]);
  await quickNode(fleet().cloud, tag);
  fleet().cloud.settle();
  const words = ['--certificate-arn', arn, '--tag', `acm-export=${tag}`, '--verify-port', '443'];
  expect((await cli(['register', name, ...words])).code).toBe(0);
}

/** Which of these are paused. Not by a list, which is some time behind. */
async function pausedOf(...names: string[]): Promise<string[]> {
  const all = await Promise.all(names.map((name) => cli(['get', name, '--output', 'json'])));
  return names.filter((_, index) => all[index]?.json().PausedAt !== undefined);
}

test('what a tag or an account has is paused and resumed together, once a person has seen it and said yes', async () => {
  await registered('first', 'pair');
  await registered('second', 'pair');
  await registered('other', 'pairs');
  const tag = ['--tag', 'acm-export=pair'];
  const declined = await cli(['pause', ...tag], { answer: 'n' });
  expect(declined).toMatchObject({ code: 1, asked: ['Pause these 2 deployments? [y/N] '] });
  expect(declined.out).toMatch(/first\/acm-export=pair in .*\n.*second\/acm-export=pair in /);
  expect(await pausedOf('first', 'second', 'other')).toEqual([]);
  expect(await cli(['pause', ...tag])).toMatchObject({ code: 2, err: expect.stringContaining('add --yes') });
  expect((await cli(['pause', 'first'])).code).toBe(0);
  // What is paused already is left out.
  const { asked, code } = await cli(['pause', ...tag], { answer: 'y' });
  expect([asked, code]).toEqual([['Pause this deployment? [y/N] '], 0]);
  expect(await pausedOf('first', 'second', 'other')).toEqual(['first', 'second']);
  expect(await cli(['pause', ...tag])).toMatchObject({
    code: 0,
    out: expect.stringContaining('nothing to do'),
  });
  expect((await cli(['pause', '--account', '999999999999', '--yes'])).err).toContain('no such deployment');
  const account = fleet().central.account;
  const resumed = await cli(['resume', '--account', account, '--yes', '--output', 'json']);
  expect([resumed.code, resumed.json().Outcome, resumed.json().Deployments.length]).toEqual([0, 'served', 2]);
  expect(await pausedOf('first', 'second', 'other')).toEqual([]);
});

test('one that is refused holds up no other, and is named', async () => {
  await registered('kept', 'kept');
  await registered('lost', 'lost');
  const refuseLost: typeof fetch = async (url, init) =>
    init?.method === 'POST' && String(url).includes('/certificates/lost/')
      ? Response.json({ Message: 'It is being deleted.', CorrelationId: 'x' }, { status: 409 })
      : fetch(url, init);
  const ran = await cli(['pause', 'lost', 'kept', '--output', 'json'], { fetch: refuseLost });
  expect(ran.code).toBe(1);
  expect(ran.json()).toMatchObject({
    Outcome: 'failed',
    Deployments: [{ CertName: 'kept' }],
    Refused: [{ Deployment: 'lost/acm-export=lost', Message: 'It is being deleted.' }],
  });
  expect(await pausedOf('lost', 'kept')).toEqual(['kept']);
});

test('while all is frozen what would begin ends with 5 and says why; a thaw says whose freeze it ends, and asks', async () => {
  await registered('iced', 'iced');
  expect(await cli(['freeze', '--show'])).toMatchObject({
    code: 0,
    out: 'No freeze lasts: rollouts begin.\n',
  });
  expect(await cli(['thaw'])).toMatchObject({ code: 0, out: 'No freeze lasts: there is nothing to end.\n' });
  const frozen = await cli(['freeze', '--reason', 'Until Monday']);
  expect(frozen).toMatchObject({ code: 0, err: '' });
  expect(frozen.out).toMatch(/^All rollouts are frozen since .*, by arn:aws:/);
  const again = await cli(['freeze', '--reason', 'Mine']);
  expect([again.code, again.err]).toEqual([0, expect.stringContaining('lasted already')]);
  expect(again.out.replaceAll('\n', ' ')).toContain('"Until Monday"');
  expect((await cli(['freeze', '--show', '--output', 'json'])).json()).toMatchObject({
    Frozen: true,
    Reason: 'Until Monday',
  });
  expect((await cli(['freeze', '--show'])).code).toBe(5);
  const rollout = await cli(['rollout', 'iced']);
  expect(rollout).toMatchObject({ code: 5, err: expect.stringContaining('"Until Monday"') });
  const declined = await cli(['thaw'], { answer: '' });
  expect([declined.code, declined.asked]).toEqual([1, [expect.stringMatching(/"Until Monday"\. End it\?/)]]);
  expect((await cli(['freeze', '--show'])).code).toBe(5);
  expect((await cli(['thaw', '--yes', '--output', 'json'])).json()).toMatchObject({ Frozen: false });
  expect((await cli(['rollout', 'iced'])).code).toBe(0);
});

test.each([
  [['pause']],
  [['pause', 'www', '--tag', 'acm-export=web']],
  [['pause', '--tag', 'web']],
  [['resume']],
  [['freeze']],
  [['freeze', '--show', '--reason', 'x']],
])('%j is no command', async (words) => {
  expect(await cli(words)).toMatchObject({ code: 2, out: '' });
});

test('every way in which nothing begins is told from other reasons', () => {
  const freeze = {
    Id: 'x',
    FrozenAt: '2026-11-27T00:00:00Z',
    FrozenBy: 'arn:aws:iam::1:role/a',
    Reason: 'b',
  };
  expect([REASONS.off, REASONS.frozen, frozenText(freeze)].map(isStandstill)).toEqual([true, true, true]);
  const { off: _, frozen: __, ...others } = REASONS;
  expect(Object.values(others).filter(isStandstill)).toEqual([]);
});
