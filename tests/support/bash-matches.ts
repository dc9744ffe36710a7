import { spawnSync } from 'node:child_process';
import { expect } from '@jest/globals';

/** Which texts bash matches, as the install script does. One process for all: each text ends in a zero byte. */
export function bashMatches(form: string, texts: string[]): boolean[] {
  const script = 'while IFS= read -r -d "" text; do [[ $text =~ ^($1)$ ]] && echo 1 || echo 0; done';
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script, 'bash', form], {
    input: texts.map((text) => `${text}\0`).join(''),
    encoding: 'utf8',
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
  });
  expect(stderr).toBe('');
  return stdout
    .trim()
    .split('\n')
    .map((line) => line === '1');
}
