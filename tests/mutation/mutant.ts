/** A part of a text, and what stands there instead. */
export interface Edit {
  start: number;
  end: number;
  text: string;
}

/** One change of one file that a test must notice. */
export interface Mutant {
  /** From the root of the project. */
  file: string;
  /** Unique in its file, and the same as long as what it changes is there. No line numbers. */
  name: string;
  edits: Edit[];
}

/** The file as the mutant has it. */
export function applied(text: string, { edits }: Pick<Mutant, 'edits'>): string {
  return edits
    .toSorted((a, b) => b.start - a.start)
    .reduce(
      (changed, { start, end, text: made }) => changed.slice(0, start) + made + changed.slice(end),
      text,
    );
}
