// Errors of the SDK in words for people. None of them shows a stack or a secret.
import { Stop } from './exit.ts';

const withProfile = (profile: string | undefined) => (profile ? ` --profile ${profile}` : '');

/** True where a session has ended. */
const EXPIRED = /expired|ExpiredToken|RequestExpired|SSO session|Token is expired/i;

/** What went wrong while credentials were looked for or used. */
export function credentialsFault(error: unknown, profile: string | undefined): Stop {
  if (error instanceof Stop) return error;
  const { message } = error as Error;
  if (EXPIRED.test(message) || EXPIRED.test((error as Error).name)) {
    return new Stop(
      'failed',
      `The session of your AWS credentials has expired: ${firstLine(message)}`,
      `Log in again and repeat the command: aws sso login${withProfile(profile)}`,
      'Credentials from somewhere else: get new ones there.',
    );
  }
  return new Stop(
    'failed',
    `No AWS credentials were found${profile ? ` for the profile ${profile}` : ''}: ${firstLine(message)}`,
    `Log in (aws sso login${withProfile(profile)}), name a profile (--profile), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`,
  );
}

/** An error of any AWS service. @param action IAM's name of what was called, with the resource. */
export function awsFault(
  error: unknown,
  action: string,
  resource: string,
  profile: string | undefined,
): Stop {
  if (error instanceof Stop) return error;
  const { name, message } = error as Error;
  if (isDenied(error)) {
    const who = /User: (\S+) is not authorized/.exec(message)?.[1] ?? 'Your identity';
    return new Stop('failed', `${who} may not do this.`, `It needs the permission ${action} on ${resource}`);
  }
  if (/Credential|Token/i.test(name) || EXPIRED.test(name)) return credentialsFault(error, profile);
  if (isUnanswered(error)) {
    return new Stop('failed', `AWS does not answer ${action}: ${firstLine(message)}.`, NETWORK);
  }
  return new Stop('failed', `AWS refuses ${action}: ${name}: ${firstLine(message)}`);
}

/** What to look at where a call got no answer. */
export const NETWORK =
  'Check the network. Behind a proxy, set NODE_USE_ENV_PROXY=1 beside HTTPS_PROXY (Node 22.21 or 24.5 and later).';

/** Whether a call of the SDK failed before anything answered: an error of the network has a code, and no status. */
const isUnanswered = (error: unknown): boolean => {
  const { code, $metadata } = error as { code?: unknown; $metadata?: { httpStatusCode?: number } };
  return typeof code === 'string' && $metadata?.httpStatusCode === undefined;
};

export const isDenied = (error: unknown): boolean =>
  /^(AccessDenied(Exception)?|AuthorizationError(Exception)?|UnauthorizedOperation|AuthFailure)$/.test(
    (error as Error).name,
  );

export const firstLine = (text: string): string => text.split('\n')[0] ?? '';
