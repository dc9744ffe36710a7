import { expect, test } from '@jest/globals';
import { debianMirrors } from './debian/release.ts';

test.each([
  ['one line', 'deb http://mirror.example/debian bookworm main\n', ['http://mirror.example/debian']],
  [
    'one line with options, and sources before it',
    'deb-src http://s.example/debian sid main\ndeb [arch=amd64 trusted=no] https://m.example/debian/ sid main contrib\n',
    ['https://m.example/debian/'],
  ],
  [
    'stanzas',
    'Types: deb\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\n\nTypes: deb\nURIs: http://m.example/debian-security\nSuites: trixie-security\nComponents: main\n',
    ['http://m.example/debian'],
  ],
  ['security updates only', 'deb http://m.example/debian-security bookworm-security main\n', []],
  ['packages of another vendor', 'deb https://download.example/linux/debian bookworm stable\n', []],
  ['a comment', '# deb http://m.example/debian bookworm main\n', []],
])('mirrors of Debian in apt sources: %s', (_, text, mirrors) => {
  expect(debianMirrors(text)).toEqual(mirrors);
});
