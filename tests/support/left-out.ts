import { writeSync } from 'node:fs';
import { howToGet, neededBy, PROGRAMS, type ToolName } from './tools.ts';

/** What jest tells reporters, as far as it is read here. */
interface Results {
  numTotalTests: number;
  testResults: {
    testResults: { status: string; title: string; ancestorTitles: string[]; fullName: string }[];
  }[];
}

/**
 * Writes the last lines of a run: what was not tried on this machine, and what to install. A test that is left out
 * without a word about what it needs fails the run.
 */
export default class LeftOut {
  readonly #isWhole: boolean;
  #error: Error | undefined;

  readonly #isNamed: boolean;

  constructor(asked: { testNamePattern?: string; testPathPatterns: { patterns: string[] } }) {
    // Given a pattern, jest itself leaves out what does not match.
    this.#isNamed = Boolean(asked.testNamePattern);
    this.#isWhole = asked.testPathPatterns.patterns.length === 0;
  }

  onRunComplete(contexts: Set<{ config: { displayName?: { name: string } } }>, results: Results): void {
    const lines = this.#isNamed ? [] : this.#leftOut(results);
    const isBare = [...contexts].some(({ config }) => config.displayName?.name === 'bare');
    if (this.#isWhole && isBare) {
      lines.push(
        'Left to `make test-all`: tests/long/, which takes minutes, and tests/real/, with other programs. It needs:',
      );
      lines.push(`  ${howToGet(PROGRAMS)}`);
    }
    // Behind jest's own summary, which is always the last of the reporters.
    process.once('exit', () => writeSync(process.stderr.fd, lines.map((line) => `${line}\n`).join('')));
  }

  #leftOut({ numTotalTests, testResults }: Results): string[] {
    const leftOut = testResults.flatMap((file) =>
      file.testResults.filter(({ status }) => status === 'pending'),
    );
    const counts = new Map<ToolName, number>();
    for (const { title, ancestorTitles, fullName } of leftOut) {
      const needed = [title, ...ancestorTitles].flatMap(neededBy);
      if (needed.length === 0)
        this.#error = new Error(`left out without a word about its needs: ${fullName}`);
      for (const tool of needed) counts.set(tool, (counts.get(tool) ?? 0) + 1);
    }
    if (leftOut.length === 0) return [];
    return [
      `NOT tried here: ${leftOut.length} of ${numTotalTests} tests.`,
      ...[...counts].map(([tool, count]) => `  ${count} for want of ${tool}: ${howToGet([tool])}`),
    ];
  }

  getLastError(): Error | undefined {
    return this.#error;
  }
}
