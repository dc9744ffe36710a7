import { DAILY, type Notification, SUBJECTS } from './notification.ts';

/** Names at most ten, as all messages do. */
const MOST_NAMED = 10;

/**
 * The message that member stacks have no role of their own to write bundles.
 *
 * @param places accounts and Regions, with a slash between them.
 * @param reason what AWS says of the first one.
 * @param since ISO 8601.
 */
export function oldMemberStacks(places: readonly string[], reason: string, since: string): Notification {
  const [first = ''] = places;
  const more = places.length - MOST_NAMED;
  return {
    Subject: SUBJECTS.behind(first, places.length - 1),
    What:
      'In these accounts and Regions the member stack is older than this stack. It has no role that only writes bundles, ' +
      `so the role that starts installations writes them. Certificates are still delivered there. AWS says: ${reason}`,
    Where: `${places.slice(0, MOST_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
    Since: since,
    WhatToDo:
      'Update member-account.yaml there. If the stack is up to date, a service control policy denies iam:GetRole. ' +
      DAILY,
  };
}
