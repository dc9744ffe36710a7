import { Option } from 'commander';
import { KEY_ALGORITHMS } from '../../functions/domain/certificate-request.ts';
import type { RequestState } from '../answers.ts';
import { confirm } from '../confirm.ts';
import type { Session } from '../connection.ts';
import { type ExitName, Stop } from '../exit.ts';
import { readRequested } from '../file.ts';
import { followRequest } from '../follow-request.ts';
import { showRequest } from '../show-request.ts';
import { textOf } from '../text-of.ts';
import { addCommand, addTimeout, addYes, type Register, timeoutOf } from './command.ts';

/** ACM validates within minutes once the records are there; a person who creates them by hand needs some time, too. */
const TIMEOUT = '2h';

interface RequestOptions {
  domain?: string[];
  keyAlgorithm?: string;
  tag?: string[];
  deployments?: string;
  recordsByHand?: boolean;
  dryRun?: boolean;
  yes?: boolean;
  /** Undefined where the person said neither --wait nor --no-wait. */
  wait?: boolean;
  timeout: string;
}

const each = (value: string, before: string[] = []) => [...before, value];

/** From nothing to served, in one command. */
export function addRequest(register: Register): void {
  addCommand<RequestOptions>(
    register,
    {
      usage: 'request <cert-name>',
      group: 'Act',
      summary: 'requests a certificate of ACM, and delivers it once it is issued; AWS charges for it',
      description:
        'Requests an exportable certificate under a name, shows the DNS records that ACM asks for, and waits until it is issued and its deployments are served. AWS charges for the certificate when it is issued, and at each renewal. The same command again requests nothing twice, and goes on waiting. Without --domain it shows the request that is there.',
      examples: [
        'acm-export request shop --domain shop.example.com --dry-run',
        'acm-export request shop --domain shop.example.com --domain www.shop.example.com --deployments shop.yaml',
        'acm-export request shop',
        'acm-export request shop --wait',
      ],
    },
    (command) => {
      command
        .option(
          '--domain <name>',
          'a domain name of the certificate, for example shop.example.com or *.shop.example.com; repeat it for more names',
          each,
        )
        .addOption(
          new Option('--key-algorithm <value>', 'of the key. Default: RSA_2048.').choices(KEY_ALGORITHMS),
        )
        .option('--tag <key=value>', 'a tag of the certificate in ACM; repeat it for more tags', each)
        .option(
          '--deployments <file>',
          'a file of deployments to register once the certificate is issued; - reads standard input',
        )
        .option('--records-by-hand', 'you create the DNS records yourself; acm-export writes none')
        .option('--dry-run', 'shows what would be requested, written and registered, and changes nothing');
      addYes(command);
      command
        .option('--wait', 'wait for a request that is there already')
        .option('--no-wait', 'end as soon as it is requested');
      addTimeout(command, TIMEOUT);
    },
    async (session, options, [certName = '']): Promise<ExitName> => {
      const { domain } = options;
      return domain === undefined
        ? shown(session, options, certName)
        : requested(session, options, certName, domain);
    },
  );
}

/** The request that is there. */
async function shown(session: Session, options: RequestOptions, certName: string): Promise<ExitName> {
  const { keyAlgorithm, tag, deployments, recordsByHand, dryRun, yes, wait } = options;
  if ([keyAlgorithm, tag, deployments, recordsByHand, dryRun, yes].some((value) => value !== undefined)) {
    throw new Stop('usage', 'request needs at least one --domain to request a certificate.');
  }
  const timeout = timeoutOf(options);
  const request = await (await session.api()).certificateRequest(certName);
  if (wait) return followRequest(session, request, timeout);
  if (session.out.isJson) session.out.json(request);
  else show(session, request);
  return 'served';
}

async function requested(
  session: Session,
  options: RequestOptions,
  certName: string,
  DomainNames: string[],
): Promise<ExitName> {
  const { keyAlgorithm, tag = [], deployments: file, recordsByHand, dryRun, yes, wait = true } = options;
  const timeout = timeoutOf(options);
  const Tags = tagsFrom(tag);
  const Deployments =
    file === undefined ? undefined : readRequested(await textOf(session, file), nameOfFile(file), certName);
  const api = await session.api();
  if (!dryRun) {
    await confirm(
      session,
      `ACM is asked for a certificate for ${DomainNames.join(', ')}. AWS charges for it when it is issued, and at each renewal. Request it?`,
      yes,
    );
  }
  const request = await api.requestCertificate(certName, {
    DomainNames,
    ...(keyAlgorithm === undefined ? {} : { KeyAlgorithm: keyAlgorithm }),
    ...(tag.length === 0 ? {} : { Tags }),
    ...(Deployments === undefined ? {} : { Deployments }),
    ...(recordsByHand ? { RecordsByHand: true } : {}),
    ...(dryRun ? { DryRun: true } : {}),
  });
  if (!dryRun && wait) return followRequest(session, request, timeout);
  if (session.out.isJson) session.out.json({ Outcome: 'served', ...request });
  else show(session, request);
  return 'served';
}

function show({ out, world }: Session, request: RequestState): void {
  for (const warning of request.Warnings ?? []) out.note(`Warning: ${warning}`, 'yellow');
  showRequest(out, request, world.now());
}

const nameOfFile = (file: string) => (file === '-' ? 'standard input' : file);

/** @throws Stop for what is no tag, and for a key that is there twice. */
function tagsFrom(texts: string[]): Record<string, string> {
  const tags = new Map<string, string>();
  for (const text of texts) {
    const at = text.indexOf('=');
    if (at < 1) {
      throw new Stop('usage', `--tag takes key=value, for example Team=shop, and not "${text}".`);
    }
    const key = text.slice(0, at);
    if (tags.has(key)) throw new Stop('usage', `--tag names ${key} twice.`);
    tags.set(key, text.slice(at + 1));
  }
  return Object.fromEntries(tags);
}
