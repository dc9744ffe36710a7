import { CENTRAL, centralStack, writtenTemplate } from '../templates/stacks.ts';
import { type Command, commandsOf, type SHELLS } from './commands.ts';
import { blocksOf, DOCUMENTS } from './documents.ts';

// The documented commands that bring member-account.yaml into an account.

const GUIDE = 'docs/guide.md';
const environment = {
  AWS_REGION: CENTRAL.region,
  AWS_DEFAULT_REGION: CENTRAL.region,
  AWS_ACCESS_KEY_ID: 'nobody',
  AWS_SECRET_ACCESS_KEY: 'none',
  AWS_SESSION_TOKEN: '',
  API_URL: 'https://api.example.com/v1',
  CERTIFICATE_ARN: `arn:aws:acm:${CENTRAL.region}:${CENTRAL.account}:certificate/1`,
  DEPLOYMENT_ID: '0123456789abcdef01234567',
  MEMBER_PARAMETERS: String(centralStack().outputs.MemberAccountParameters),
  POLICY: 'arn:aws:iam::444455556666:policy/acm-export-read-bundle-eu-west-1',
  DASHBOARD: 'https://console.example.com',
};
/** Those of docs/nodes.md are typed on a server, where root has bash. */
export const TYPED_ANYWHERE = DOCUMENTS.filter(
  (document) =>
    document !== 'docs/nodes.md' &&
    blocksOf(document).some(({ language }) => language === 'sh' || language === 'console'),
);
export const template = writtenTemplate('member-account.yaml');
export const parameters = Object.keys(template.Parameters);
export const commands = commandsOf(GUIDE, environment);

export const deploys = commands.filter(
  ({ program, words }) => program === 'sam' && words.includes('member-account.yaml'),
);

/** What stands behind an option, as far as the next one. */
export function valuesOf({ words }: Command, option: string): string[] {
  const behind = words.slice(words.indexOf(option) + 1);
  const end = behind.findIndex((word) => word.startsWith('--'));
  return words.includes(option) ? behind.slice(0, end < 0 ? undefined : end) : [];
}

/** How a document's commands call programs, when a shell has read them; without what `date` said meanwhile. */
export const calledBy = (shell: keyof typeof SHELLS, document: string) =>
  commandsOf(document, environment, shell).map((command) =>
    JSON.stringify(command).replaceAll(/\b\d{10}\b|\d{4}-\d\d-\d\dT[\d:]+/g, 'a time'),
  );
