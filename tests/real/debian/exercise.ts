import { setTimeout as sleep } from 'node:timers/promises';
import type { createChain } from '../../ssm-documents/certificates.ts';
import { bootMachine, type Install, type Machine } from './machine.ts';
import type { Codename } from './release.ts';
import type { Server } from './servers.ts';

export const RENEWALS = 2;
const NAME = 'www.example.com';

/** An install, which certificate it brought, and which one clients were served afterwards. */
export interface Seen extends Install {
  delivered: string;
  served: string;
  /** The version that is switched on. */
  current: string;
}

export type Exercise = Awaited<ReturnType<typeof exercise>>;

/** The life of one server with its certificate, from the first install to one that fails. */
export async function exercise(
  release: { codename: Codename; folder: string },
  server: Server,
  chain: Awaited<ReturnType<typeof createChain>>,
) {
  const machine = await bootMachine(release.folder, chain.root.pem);
  try {
    const unit = typeof server.unit === 'string' ? server.unit : server.unit[release.codename];
    return await live(machine, server, unit, chain);
  } finally {
    await machine.stop();
  }
}

async function live(
  machine: Machine,
  server: Server,
  unit: string,
  chain: Awaited<ReturnType<typeof createChain>>,
) {
  const client = [String(server.port), server.starttls ?? '', NAME];
  let rollout = 0;
  const install = async (parameters: Record<string, string> = {}, bundle = chain.newBundle()) => {
    const result = await machine.install(await bundle, {
      RolloutNumber: String(++rollout),
      ReloadServices: unit,
      ...server.options,
      ...parameters,
    });
    return { ...result, delivered: (await bundle).value.Serial };
  };
  const look = async (expected: string) => ({
    served: await comesToServe(machine, client, expected),
    current: await machine.shell('readlink /etc/ssl/acm-export/www/current'),
  });

  // The server runs without our certificate, which comes; then the administrator names it.
  await machine.shell(`systemctl start ${unit}`);
  const before = await machine.run(['served', ...client]);
  const installed = await install({ VerifyPort: '0' });
  await machine.shell(
    `CURRENT=/etc/ssl/acm-export/www/current\n${server.configure}\nsystemctl restart ${unit}`,
  );
  const first: Seen = { ...installed, ...(await look(installed.delivered)) };

  const renewals: Seen[] = [];
  let bundle = chain.newBundle();
  for (let renewal = 1; renewal <= RENEWALS; renewal++) {
    bundle = chain.newBundle();
    const renewed = await install({}, bundle);
    renewals.push({ ...renewed, ...(await look(renewed.delivered)) });
  }
  const old = renewals.at(-1) as Seen;
  const otherName = await machine.run(['served', ...client.slice(0, 2), 'www.example.org']);

  const unchanged: Seen = { ...(await install({}, bundle)), ...(await look(old.served)) };
  const dryRun: Seen = { ...(await install({ DryRun: 'true' })), ...(await look(old.served)) };

  // A second unit that sees the server serve the new certificate, and refuses to go along.
  await machine.shell(`
    printf '%s\\n' [Service] Type=oneshot RemainAfterExit=yes ExecStart=/bin/true \\
      "ExecReload=/usr/local/bin/gate ${client.map((word) => `'${word}'`).join(' ')}" >/etc/systemd/system/gate.service
    echo ${old.served} >/root/accepted-at-gate
    systemctl start gate`);
  const refused: Seen = {
    ...(await install({ ReloadServices: `${unit} gate` })),
    ...(await look(old.served)),
  };
  const seenAtGate = (await machine.shell('cat /root/seen-at-gate')).trim().split('\n');

  let broken: Seen | undefined;
  if (server.broken) {
    const forEach = (line: string) => `for file in ${server.broken?.files}; do ${line}; done`;
    await machine.shell(forEach('cp -p "$file" "$file.good"; echo "nonsense = { nonsense" >>"$file"'));
    const failed = await install();
    broken = { ...failed, ...(await look(old.served)) };
    await machine.shell(forEach('mv "$file.good" "$file"'));
  }
  // Not only from memory.
  await machine.shell(`systemctl restart ${unit}`);
  const restarted = await comesToServe(machine, client, old.served);

  return {
    before,
    first,
    renewals,
    otherName,
    unchanged,
    dryRun,
    refused,
    seenAtGate,
    broken,
    restarted,
    versions: await versionsOf(machine, server),
  };
}

/** The serial that a client gets; some servers need a moment after a reload, so this asks until it is the expected one. */
async function comesToServe(machine: Machine, client: string[], expected: string): Promise<string> {
  for (let tries = 50; ; tries--) {
    const { stdout, stderr } = await machine.run(['served', ...client]);
    if (stdout.trim() === expected || tries === 0) return stdout.trim() || stderr;
    await sleep(200);
  }
}

async function versionsOf(machine: Machine, server: Server) {
  const version = async (name: string) => {
    const full = await machine.shell(`dpkg-query -W -f '\${Version}' ${name}`);
    return /^(?:\d+:)?(\d+(?:\.\d+)?)/.exec(full)?.[1] ?? full; // Of the rest, security updates make something new.
  };
  return {
    system: (await machine.shell('. /etc/os-release; echo "Debian $VERSION_ID"')).trim(),
    bash: await version('bash'),
    openssl: await version('openssl'),
    coreutils: await version('coreutils'),
    server: `${server.name} ${await version(server.package)}`,
  };
}
