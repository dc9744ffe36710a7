// What comes from the registry: under which licences, how it is pinned, and what is known against it.
import { spawnSync } from 'node:child_process';

/** The parts of package-lock.json (version 3) that are looked at. */
export interface LockFile {
  packages: Record<
    string,
    {
      version?: string;
      license?: string;
      dev?: boolean;
      integrity?: string;
      link?: boolean;
      inBundle?: boolean;
    }
  >;
}

/** Permissive ones: they ask for no more than a notice. */
const PERMISSIVE = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT', 'MIT-0'];
/** Also for what is not delivered: BlueOak is permissive, CC-BY-4.0 is a table of browsers that Jest brings along. */
const FOR_DEVELOPMENT = [...PERMISSIVE, 'BlueOak-1.0.0', 'CC-BY-4.0', 'CC0-1.0'];

/** Every package, the nested ones included, under a licence that is known and permissive, and pinned by its hash. */
export function dependencyFaults(file: string, { packages }: LockFile): string[] {
  return (
    Object.entries(packages)
      // The others are the project itself and its own packages.
      .filter(([location, { link }]) => location.includes('node_modules/') && !link)
      .flatMap(([location, { license, dev, integrity, inBundle }]) => {
        const allowed = dev ? FOR_DEVELOPMENT : PERMISSIVE;
        const name = location.replace(/^.*node_modules\//, '');
        return [
          ...(isAllowed(license, allowed)
            ? []
            : [`${file}: ${name} is under ${license ?? 'no licence'}${dev ? ', for development' : ''}`]),
          // A package that lies in the archive of another is pinned by the hash of that one.
          ...(integrity || inBundle ? [] : [`${file}: ${name} is not pinned by a hash`]),
        ];
      })
  );
}

/** The parts of a CycloneDX list, as `npm sbom` writes it, that are looked at. */
export interface Sbom {
  components: { name: string; version: string; properties?: { name: string; value: string }[] }[];
}

const DEVELOPMENT = 'cdx:npm:package:development';

/** Name and version of every package of the lock file that is not for development only. */
const deliveredOf = ({ packages }: LockFile): string[] =>
  Object.entries(packages)
    .filter(([location, { dev, link }]) => location.includes('node_modules/') && !dev && !link)
    .map(([location, { version }]) => `${location.replace(/^.*node_modules\//, '')}@${version}`);

/**
 * The list without the mark of development on packages that are delivered, too: npm lists a version once, wherever it lies,
 * and takes the mark of one of these places.
 */
export function unmarked<T extends Sbom>(lock: LockFile, sbom: T): T {
  const delivered = new Set(deliveredOf(lock));
  const components = sbom.components.map((component) =>
    delivered.has(`${component.name}@${component.version}`)
      ? { ...component, properties: component.properties?.filter(({ name }) => name !== DEVELOPMENT) ?? [] }
      : component,
  );
  return { ...sbom, components };
}

/** Every delivered package of the lock file must be listed, and must not be marked as one for development. */
export function sbomFaults(lock: LockFile, { components }: Sbom): string[] {
  const listed = new Set(
    components
      .filter(({ properties = [] }) => !properties.some(({ name }) => name === DEVELOPMENT))
      .map(({ name, version }) => `${name}@${version}`),
  );
  return deliveredOf(lock)
    .filter((name) => !listed.has(name))
    .map((name) => `the list of packages lacks ${name}`);
}

/** Of an SPDX expression one side of an OR must be allowed, and both of an AND. */
function isAllowed(expression: string | undefined, allowed: string[]): boolean {
  const plain = (expression ?? '').replace(/[()]/g, '');
  return plain
    .split(/ OR /)
    .some((choice) => choice.split(/ AND /).every((licence) => allowed.includes(licence)));
}

/** What the audit found, or why it could not be made: that is never a pass. */
export interface Audit {
  faults: string[];
  notChecked?: string;
}

/** The answer of `npm audit --json`: for what is delivered any known vulnerability counts, else grave ones. */
export function readAudit(output: string): Audit {
  let answer: {
    vulnerabilities?: Record<string, { severity: string; range: string }>;
    message?: string;
    error?: { summary?: string };
  };
  try {
    answer = JSON.parse(output);
  } catch {
    return { faults: [], notChecked: 'npm audit gave no answer' };
  }
  if (!answer.vulnerabilities) {
    const why = answer.message || answer.error?.summary || 'the registry serves no audit';
    return { faults: [], notChecked: why };
  }
  const known = Object.entries(answer.vulnerabilities);
  return {
    faults: known.map(([name, { severity, range }]) => `${name} ${range}: ${severity} vulnerability`),
  };
}

/** Asks the registry. Not every registry answers, and no machine is always online. */
export function audit(root: string): Audit {
  const ask = (...options: string[]) => {
    // Half a minute is what a person waits for a lint.
    const run = spawnSync('npm', ['audit', '--json', ...options], {
      cwd: root,
      encoding: 'utf8',
      timeout: 30_000,
    });
    return readAudit(run.stdout ?? '');
  };
  // No package of our own is delivered.
  const delivered = ask('--omit=dev', '--workspaces=false');
  if (delivered.notChecked) {
    return delivered;
  }
  const grave = ask().faults.filter((fault) => /(high|critical) vulnerability$/.test(fault));
  return { faults: [...new Set([...delivered.faults, ...grave])] };
}
