import { expect } from 'expect';

/**
 * What tests import from `@jest/globals`, for many runs of the same tests in one process: without jest's own start, which
 * takes longer than most of these tests. One file at a time.
 */
type Work = (...args: never[]) => unknown;
interface Block {
  parent?: Block;
  before: Work[];
  beforeEach: Work[];
  after: Work[];
  afterEach: Work[];
  members: (Block | { name: string; work: Work })[];
}

const newBlock = (parent?: Block): Block => ({
  ...(parent && { parent }),
  before: [],
  beforeEach: [],
  after: [],
  afterEach: [],
  members: [],
});
let open = newBlock();

/** What was declared since the last time. */
export function takeTests(): Block {
  const taken = open;
  open = newBlock();
  return taken;
}

/** Runs tests until one fails. @param only those whose name has this. @returns the name of that one, and why. */
export async function firstFailure(block: Block, only = ''): Promise<string | undefined> {
  if (!hasTest(block, only)) return undefined;
  let failure: string | undefined;
  let name = 'before the tests';
  try {
    for (const work of block.before) await work();
    for (const member of block.members) {
      if ('work' in member) {
        if (!member.name.includes(only)) continue;
        name = member.name;
        for (const work of around(block, 'beforeEach')) await work();
        try {
          await member.work();
        } finally {
          for (const work of around(block, 'afterEach')) await work();
        }
      } else failure = await firstFailure(member, only);
      if (failure) break;
    }
  } catch (error) {
    failure = `${name}: ${(error as Error).message}`;
  }
  for (const work of block.after) await Promise.resolve(work()).catch(() => {});
  return failure;
}

export const hasTest = (block: Block, only: string): boolean =>
  block.members.some((member) => ('work' in member ? member.name.includes(only) : hasTest(member, only)));

function around(block: Block, when: 'beforeEach' | 'afterEach'): Work[] {
  const outer = block.parent ? around(block.parent, when) : [];
  return when === 'beforeEach' ? [...outer, ...block[when]] : [...block[when], ...outer];
}

const rowsOf = (table: readonly unknown[]) =>
  table.map((row) => (Array.isArray(row) ? row : [row])) as never[][];

const declareTest = (name: string, work: Work) => {
  open.members.push({ name, work });
};
const declareBlock = (_name: string, work: Work) => {
  const outer = open;
  open = newBlock(outer);
  outer.members.push(open);
  work();
  open = outer;
};
const each = (declare: typeof declareTest) => (table: readonly unknown[]) => (name: string, work: Work) => {
  for (const row of rowsOf(table)) declare(`${name} ${String(row[0])}`, () => work(...row));
};

const skip = Object.assign(() => {}, { each: () => () => {} });
export const test = Object.assign(declareTest, { each: each(declareTest), skip });
export const describe = Object.assign(declareBlock, { each: each(declareBlock), skip });
export const beforeAll = (work: Work) => open.before.push(work);
export const beforeEach = (work: Work) => open.beforeEach.push(work);
export const afterAll = (work: Work) => open.after.push(work);
export const afterEach = (work: Work) => open.afterEach.push(work);
export { expect };
