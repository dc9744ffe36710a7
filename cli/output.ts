import { styleText } from 'node:util';
import { type Colour, type Column, plain, tableOf, wrapped } from './table.ts';
import type { Sink, World } from './world.ts';

export type Format = 'table' | 'json';

/** Of a pipe: tables that are read later, in a log or a mail. */
const PIPE_WIDTH = 120;
const LEAST_WIDTH = 40;

/** What a person or a program reads. JSON goes to standard output, alone; all that is beside it to standard error. */
export class Output {
  readonly format: Format;
  readonly #world: World;
  /** Lines of the live table that stand at the end of the terminal. */
  #live = 0;

  constructor(world: World, format: Format) {
    this.#world = world;
    this.format = format;
  }

  get isJson(): boolean {
    return this.format === 'json';
  }

  /** Whether a table can be drawn anew in its place. */
  get isLive(): boolean {
    return !this.isJson && this.#world.stdout.isTTY === true && this.#world.env.TERM !== 'dumb';
  }

  get rows(): number {
    return this.#world.stdout.rows ?? 24;
  }

  /** Characters of a line: of the terminal, else as COLUMNS says, else what a log takes. */
  get width(): number {
    const { stdout, env } = this.#world;
    const columns = stdout.isTTY ? stdout.columns : Number(env.COLUMNS);
    return Math.max(LEAST_WIDTH, Number.isInteger(columns) && columns ? columns : PIPE_WIDTH);
  }

  /** On a terminal only, and not where the person does not want it (no-color.org). */
  paint = (colour: Colour, text: string, sink: Sink = this.#world.stdout): string => {
    const { env } = this.#world;
    const isOn = sink.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
    return isOn ? styleText(colour, text, { validateStream: false }) : text;
  };

  /** A line for people. */
  line(text = '', colour?: Colour): void {
    if (this.isJson) return;
    for (const part of text.split('\n')) {
      const shown = plain(part);
      this.#world.stdout.write(`${colour ? this.paint(colour, shown) : shown}\n`);
    }
  }

  /** A paragraph for people, broken between words. */
  paragraph(text: string, indent = ''): void {
    for (const line of wrapped(text, this.width, indent)) this.line(line);
  }

  /** A line beside the result. */
  note(text: string, colour?: Colour): void {
    for (const part of text.split('\n')) {
      const shown = plain(part);
      this.#world.stderr.write(`${colour ? this.paint(colour, shown, this.#world.stderr) : shown}\n`);
    }
  }

  json(value: unknown): void {
    this.#world.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** Text as it is, for files. */
  raw(text: string): void {
    this.#world.stdout.write(text);
  }

  table<Row>(columns: Column<Row>[], rows: Row[]): void {
    if (this.isJson) return;
    for (const line of tableOf(columns, rows, this.width, this.paint)) this.#world.stdout.write(`${line}\n`);
  }

  /** Draws these lines in place of those that were drawn before. Only where `isLive`. */
  draw(lines: string[]): void {
    const up = this.#live > 0 ? `\u001b[${this.#live}A\u001b[0J` : '';
    this.#world.stdout.write(`${up}${lines.map((line) => `${line}\n`).join('')}`);
    this.#live = lines.length;
  }
}
