import type { Exercise } from './exercise.ts';

const INTRODUCTION = `# Systems on which the install script was run

\`make test-all\` writes this page. It makes each system with debootstrap and installs the servers from the system's packages. It changes only the lines of their configuration that name certificate and key.

Every server gets a first certificate, renewals, a dry run, and renewals that must go back. After each of these, a client (\`openssl s_client\`) verifies what the server serves.

Small scripts replace systemd and the AWS CLI: [tests/real/debian/](../tests/real/debian/). Those for systemd follow the unit files of the packages. The kernel, SELinux, AppArmor and the SSM Agent are not tested there.

| System | bash | OpenSSL | coreutils | Servers | Result, as clients saw it |
| --- | --- | --- | --- | --- | --- |
`;

/** The page for what a run has seen, one list of exercises for each system. */
export function renderTestedSystems(systems: Exercise[][]): string {
  return INTRODUCTION + systems.map(row).join('');
}

function row(exercises: Exercise[]): string {
  const [first] = exercises;
  if (!first) throw new Error('a system without a server');
  const { system, bash, openssl, coreutils } = first.versions;
  const servers = exercises.map(({ versions }) => versions.server).join(', ');
  const count = (seen: (exercise: Exercise) => boolean[]) => exercises.flatMap(seen).filter(Boolean).length;
  const installs = count(({ first, renewals }) =>
    [first, ...renewals].map((seen) => seen.served === seen.delivered),
  );
  const waysBack = count(({ refused, broken, unchanged }) =>
    [refused, broken].map((seen) => seen !== undefined && seen.served === unchanged.served),
  );
  const seen = `${installs} new certificates served, ${waysBack} times back to the old one`;
  return `| ${[system, bash, openssl, coreutils, servers, seen].join(' | ')} |\n`;
}
