import { createHash } from 'node:crypto';
import { GetRoleCommand, IAMClient } from '@aws-sdk/client-iam';
import { GetDocumentCommand, SSMClient } from '@aws-sdk/client-ssm';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { SCRIPTS } from '../edition.ts';
import type { AwsSettings } from '../world.ts';
import type { Checks } from './checks.ts';

/** An account and Region with servers. */
export interface Place {
  account: string;
  region: string;
}

const DEPLOY = 'Deploy member-account.yaml of this edition there: docs/guide.md, step 2.';

/** Whether the credentials belong to the account. Without that nothing there can be looked at. */
export async function isOfAccount(
  checks: Checks,
  settings: AwsSettings,
  { account, region }: Place,
): Promise<boolean> {
  const where = `account ${account} ${region}`;
  const caller = await checks.once(`caller ${account}`, () =>
    checks.asked(where, 'what is in the account of the servers', 'sts:GetCallerIdentity', () =>
      new STSClient(settings).send(new GetCallerIdentityCommand({})),
    ),
  );
  if (!caller || caller === 'missing') return false;
  if (caller.Account === account) return true;
  checks.unknown(
    where,
    `It was not checked what is in the account of the servers: these credentials are of account ${caller.Account}.`,
    'Name a profile of that account: --target-profile.',
  );
  return false;
}

/** The member stack: its role, its documents, and whether they are those of this edition. */
export async function checkMember(
  checks: Checks,
  settings: AwsSettings,
  { account, region }: Place,
  prefix: string,
): Promise<void> {
  const where = `account ${account} ${region}`;
  const role = `${prefix}-rollout-${region}`;
  const iam = new IAMClient(settings);
  const found = await checks.asked(
    where,
    'whether the member stack is there',
    `iam:GetRole on role/${role}`,
    () => iam.send(new GetRoleCommand({ RoleName: role })),
    'NoSuchEntityException',
    'NoSuchEntity',
  );
  if (found === 'missing') {
    checks.wrong(where, `The member stack is not there: it has no role ${role}.`, DEPLOY);
    return;
  }
  if (found) checks.ok(where, 'The member stack is there.');
  const ssm = new SSMClient(settings);
  for (const [suffix, digest] of Object.entries(SCRIPTS)) {
    const name = `${prefix}-${suffix}`;
    const document = await checks.asked(
      where,
      `whether the document ${name} is of this edition`,
      `ssm:GetDocument on document/${name}`,
      () => ssm.send(new GetDocumentCommand({ Name: name, DocumentFormat: 'JSON' })),
      'InvalidDocument',
    );
    if (document === 'missing') {
      checks.wrong(where, `The document ${name} is missing.`, DEPLOY);
    } else if (document) {
      if (scriptDigest(document.Content ?? '') === digest)
        checks.ok(where, `The document ${name} is of this edition.`);
      else {
        checks.wrong(
          where,
          `The document ${name} is of another edition than this command.`,
          `${DEPLOY} Or use the command of the edition that is deployed. Editions that follow each other work together.`,
        );
      }
    }
  }
}

/** Of the script in a document. */
function scriptDigest(content: string): string {
  try {
    const { mainSteps } = JSON.parse(content) as { mainSteps: { inputs: { runCommand?: string[] } }[] };
    const script = mainSteps.flatMap(({ inputs }) => inputs.runCommand ?? []).join('\n');
    return createHash('sha256').update(script.trimEnd()).digest('hex');
  } catch {
    return '';
  }
}
