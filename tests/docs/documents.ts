import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../templates/stacks.ts';

/** Every Markdown file of the project, as paths from its root. */
export const DOCUMENTS = [
  '.',
  'docs',
  'docs/decisions',
  'ssm-documents',
  'local',
  'packages/local-cloud',
].flatMap((folder) =>
  readdirSync(path.join(ROOT, folder))
    .filter((file) => file.endsWith('.md'))
    .map((file) => path.join(folder, file)),
);

export const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

export interface Block {
  document: string;
  /** Of the fence, counted from 1. */
  line: number;
  language: string;
  text: string;
}

/** The fenced blocks of a document; those inside lists are moved to the left. */
export function blocksOf(document: string): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; language: string; indentation: string; lines: string[] } | undefined;
  for (const [index, line] of read(document).split('\n').entries()) {
    const [, indentation = '', language = ''] = /^( *)```(\w*)\s*$/.exec(line) ?? [];
    if (!/^ *```/.test(line)) open?.lines.push(line.slice(open.indentation.length));
    else if (open) {
      blocks.push({ document, line: open.line, language: open.language, text: open.lines.join('\n') });
      open = undefined;
    } else open = { line: index + 1, language, indentation, lines: [] };
  }
  return blocks;
}

/** The rows of every table in a text, cell by cell. */
export function rowsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => /^\s*\|.*\|\s*$/.test(line) && !/^\s*\|[\s|:-]+\|\s*$/.test(line))
    .map((line) =>
      line
        .trim()
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

/** The part of a document below a heading, as far as the next heading of the same or a higher level. */
export function section(document: string, heading: string): string {
  const lines = read(document).split('\n');
  const start = lines.findIndex((line) => line.replace(/^#+ /, '') === heading && line.startsWith('#'));
  if (start < 0) throw new Error(`${document} has no heading "${heading}"`);
  const level = /^#+/.exec(lines[start] as string)?.[0].length ?? 0;
  const rest = lines.slice(start + 1);
  const end = rest.findIndex((line) => new RegExp(`^#{1,${level}} `).test(line));
  return rest.slice(0, end < 0 ? undefined : end).join('\n');
}

/** GitHub's anchors: lower case, blanks to hyphens, other marks dropped. */
export function anchorsOf(document: string): Set<string> {
  const headings = read(document)
    .replaceAll(/^ *```[\s\S]*?^ *```/gm, '')
    .matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, text = '']) =>
      text
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(/\s/g, '-'),
    ),
  );
}
