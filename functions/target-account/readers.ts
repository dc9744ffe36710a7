import { GetRoleCommand, type IAMClient } from '@aws-sdk/client-iam';
import { isDenial, isNamed } from '../domain/errors.ts';
import { logger } from '../runtime/observability.ts';
import type { SessionStatement } from './session.ts';

/** The roles that exist, and those that do not. Of a role that is in neither list the account did not tell. */
export interface Readers {
  present: string[];
  missing: string[];
  /** What the account said where it does not allow the question. */
  denied?: Error;
}

/**
 * STS packs a session policy into a space of unpublished size, and refused one of 1,690 characters. Five of the longest
 * names make 600.
 */
const READERS_A_SESSION = 5;

/** IAM finds a role by its name: the path is left open. */
const readerStatement = (readers: readonly string[]): SessionStatement => ({
  Effect: 'Allow',
  Action: ['iam:GetRole'],
  Resource: readers.map((arn) => `${arn.slice(0, arn.indexOf(':role/'))}:role/*${nameOf(arn)}`),
});

/**
 * Looks which reader roles exist. Only the whole ARN counts, as the policy of the bundle compares it. Nothing depends on
 * the answer but what people are told.
 *
 * @param connect opens a session in the account, limited to the statements.
 */
export async function findReaders(
  connect: (statements: SessionStatement[]) => Promise<{ iam: IAMClient }>,
  readers: readonly string[],
): Promise<Readers> {
  const found: Readers = { present: [], missing: [] };
  for (let start = 0; start < readers.length; start += READERS_A_SESSION) {
    const some = readers.slice(start, start + READERS_A_SESSION);
    const { iam } = await connect([readerStatement(some)]);
    await findSome(iam, some, found);
  }
  return found;
}

async function findSome(iam: IAMClient, readers: readonly string[], found: Readers): Promise<void> {
  await Promise.all(
    readers.map(async (arn) => {
      try {
        const { Role } = await iam.send(new GetRoleCommand({ RoleName: nameOf(arn) }));
        found[Role?.Arn === arn ? 'present' : 'missing'].push(arn);
      } catch (error) {
        if (isNamed(error, 'NoSuchEntityException')) {
          found.missing.push(arn);
        } else {
          logger.info(`Whether ${arn} exists is not known`, error as Error);
          if (isDenial(error)) {
            found.denied = error;
          }
        }
      }
    }),
  );
}

const nameOf = (arn: string) => arn.slice(arn.lastIndexOf('/') + 1);
