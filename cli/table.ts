/** A column of a table. */
export interface Column<Row> {
  title: string;
  text(row: Row): string;
  /** A long one is cut where the line is too narrow; the others never are: people copy names and ids. */
  isCut?: boolean;
  /** The colour of a cell, by its row. */
  colour?(row: Row): Colour | undefined;
}
export type Colour = 'red' | 'yellow' | 'green' | 'dim' | 'bold';

/** A column that is cut keeps so many characters: less says nothing. */
const LEAST = 8;
const GAP = '  ';

/**
 * Lines of a table, the titles first. Columns are as wide as their widest cell; where the line would be longer than
 * `width`, those that may be cut are made narrower, the widest first.
 *
 * @param width characters of a line.
 */
export function tableOf<Row>(
  columns: Column<Row>[],
  rows: Row[],
  width: number,
  paint: (colour: Colour, text: string) => string = (_, text) => text,
): string[] {
  const cells = rows.map((row) => columns.map(({ text }) => plain(text(row))));
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...cells.map((line) => lengthOf(line[index] as string))),
  );
  let over = widths.reduce((sum, one) => sum + one + GAP.length, -GAP.length) - width;
  while (over > 0) {
    const cut = columns.flatMap(({ isCut }, index) =>
      isCut && (widths[index] as number) > LEAST ? [index] : [],
    );
    if (cut.length === 0) break;
    const widest = cut.reduce((a, b) => ((widths[b] as number) > (widths[a] as number) ? b : a));
    widths[widest] = (widths[widest] as number) - 1;
    over -= 1;
  }
  const line = (texts: string[], colourOf: (index: number) => Colour | undefined) =>
    texts
      .map((text, index) => {
        const short = shortened(text, widths[index] as number);
        const colour = colourOf(index);
        const padding = ' '.repeat(Math.max(0, (widths[index] as number) - lengthOf(short)));
        return (colour ? paint(colour, short) : short) + (index === texts.length - 1 ? '' : padding);
      })
      .join(GAP)
      .trimEnd();
  const head = line(
    columns.map(({ title }) => title),
    () => 'bold',
  );
  const body = rows.map((row, at) => line(cells[at] as string[], (index) => columns[index]?.colour?.(row)));
  return [head, ...body];
}

const lengthOf = (text: string) => [...text].length;

function shortened(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`;
}

/**
 * Text of others as one line of a terminal. What nodes report is written by programs there: a control character in it
 * could move the cursor, change the title or hide what follows (also C1 and the marks that turn the direction of text).
 */
export const plain = (text: string): string =>
  text.replace(/[\r\n\t]+/g, ' ').replace(/[\p{Cc}\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu, '?');

/** Breaks text between words into lines of at most `width` characters, each with `indent` in front. */
export function wrapped(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of plain(text).split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && lengthOf(indent + longer) > width) {
      lines.push(indent + line);
      line = word;
    } else {
      line = longer;
    }
  }
  return [...lines, indent + line];
}
