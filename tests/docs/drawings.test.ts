import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { centralStack, resourcesOf } from '../templates/stacks.ts';
import { blocksOf, read } from './documents.ts';

interface State {
  Type: string;
  Next?: string;
  End?: boolean;
  Default?: string;
  Choices?: { Next: string }[];
  Catch?: { Next: string }[];
}

const { StartAt, States } = parse(read('statemachine/certificate-rollout.asl.yaml')) as {
  StartAt: string;
  States: Record<string, State>;
};
const drawings = (document: string) =>
  blocksOf(document)
    .filter(({ language }) => language === 'mermaid')
    .map(({ text }) => text);
const drawing = (document: string, kind: string) =>
  drawings(document).find((text) => text.startsWith(kind)) ?? '';

test('the drawing of the rollout has every state and every way from one to another, and no others', () => {
  const ways = Object.entries(States).flatMap(([name, { Type, Next, End, Default, Choices, Catch }]) => {
    const followers = [Next, Default, ...[...(Choices ?? []), ...(Catch ?? [])].map((way) => way.Next)];
    const ends = End || Type === 'Succeed' || Type === 'Fail' ? ['[*]'] : [];
    return [...followers.filter((follower) => follower !== undefined), ...ends].map(
      (follower) => `${name} --> ${follower}`,
    );
  });
  const drawn = [...drawing('README.md', 'stateDiagram').matchAll(/^ *(\S+) --> ([^\s:]+)/gm)].map(
    ([, from, to]) => `${from} --> ${to}`,
  );
  expect(drawn.sort()).toEqual([...new Set([`[*] --> ${StartAt}`, ...ways])].sort());
});

const functions = resourcesOf(centralStack(), 'AWS::Serverless::Function').map(([, { properties }]) =>
  properties.FunctionName.slice('acm-export-'.length),
);

describe.each([
  ['README.md', 'flowchart'],
  ['docs/guide.md', 'sequenceDiagram'],
])('the drawing in %s', (document, kind) => {
  test.each(functions)('shows %s', (name) => {
    expect(`${drawing(document, kind)}\n${sentenceBelow(document, kind)}`).toMatch(
      new RegExp(`(?<![\\w-])${name}(?![\\w-])`),
    );
  });
});

/** What a sequence of one good case cannot show is said in the paragraph below it. */
function sentenceBelow(document: string, kind: string): string {
  return kind === 'flowchart'
    ? ''
    : (read(document).split(drawing(document, kind))[1]?.split('\n## ')[0] ?? '');
}

test('states and functions are named in drawings as in the code', () => {
  const known = new Set([...Object.keys(States), ...functions]);
  const named = drawings('README.md').flatMap((text) => [
    ...text.matchAll(/\b(?:Wait|Export|Start|Check|Is)[A-Z]\w+/g),
  ]);
  expect(named.map(([name]) => name).filter((name) => !known.has(name))).toEqual([]);
});
