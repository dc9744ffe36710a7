// make pictures: what a terminal shows, as drawings for the README. From real runs: `acm-export list` on a local fleet, and
// `make demo`.
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { run } from '../cli/program.ts';
import { startCloud } from './cloud.ts';
import { CENTRAL, deployFleet, type Fleet, MEMBER, requestCertificate } from './example-fleet.ts';
import { ScriptedNode } from './scripted-node.ts';
import { terminalPicture } from './terminal-picture.ts';

const FOLDER = path.resolve(import.meta.dirname, '../docs/pictures');
const COLUMNS = 100;
/** The lines of the demo are written for themselves. */
const DEMO_COLUMNS = 116;

/** Runs one command of a person at a terminal, and gives what it shows. */
async function shownBy(fleet: Fleet, words: string[]): Promise<string> {
  let shown = '';
  const sink = {
    write: (text: string) => {
      shown += text;
    },
    isTTY: true,
    columns: COLUMNS,
    rows: 40,
  };
  await run(words, {
    env: { ACM_EXPORT_ENDPOINT: fleet.central.apiUrl },
    stdout: sink,
    stderr: { write() {} },
    now: () => new Date(),
    sleep: (ms) => sleep(Math.min(ms, 10)),
    interrupted: new AbortController().signal,
    fetch,
    readStdin: async () => '',
    aws: async (_profile, region = CENTRAL.region) => fleet.cloud.clientConfig(fleet.operator, region),
  });
  return shown;
}

/** Four deployments, of which one is on a server that is offline, and one on a server whose configuration is broken. */
async function list(): Promise<string> {
  const fleet = await deployFleet(await startCloud({ timeScale: 0.005, environments: 1 }));
  const { cloud } = fleet;
  try {
    const orders: [
      name: string,
      place: typeof CENTRAL,
      nodes: Parameters<typeof ScriptedNode.create>[3][],
    ][] = [
      ['www', CENTRAL, [{}, {}, {}]],
      ['api', MEMBER, [{}, {}]],
      ['mail', CENTRAL, [{}, { online: false }]],
      ['shop', CENTRAL, [{ behaviour: 'failed' }]],
    ];
    let count = 0;
    for (const [name, place, nodes] of orders) {
      for (const options of nodes) {
        count += 1;
        const id = `i-${count.toString(16).padStart(17, '0')}`;
        await ScriptedNode.create(
          cloud,
          place,
          id,
          { tags: { 'acm-export': name }, ...options },
          async () => {},
        );
      }
      const arn = await requestCertificate(fleet, name, [`${name}.example.com`]);
      cloud.settle();
      const target = ['--target-account', place.account, '--target-region', place.region];
      const order = [
        '--certificate-arn',
        arn,
        '--tag',
        `acm-export=${name}`,
        '--verify-port',
        '443',
        ...target,
      ];
      await shownBy(fleet, ['register', name, ...order]);
    }
    return await shownBy(fleet, ['list']);
  } finally {
    await cloud.stop();
  }
}

/** What `make demo` prints, without the lines that say how long it has waited. */
async function demo(): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [path.join(import.meta.dirname, 'demo.ts')]);
  return stdout
    .split('\n')
    .filter((line) => !line.includes(' ... waiting for '))
    .join('\n');
}

mkdirSync(FOLDER, { recursive: true });
for (const [name, title, text, columns] of [
  ['list', 'acm-export list', await list(), COLUMNS],
  ['demo', 'make demo', await demo(), DEMO_COLUMNS],
] as const) {
  writeFileSync(path.join(FOLDER, `${name}.svg`), terminalPicture(`$ ${title}\n${text}`, { title, columns }));
}
