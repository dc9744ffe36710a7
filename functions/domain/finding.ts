import { type Deployment, type FindingKind, type NodeRecord, timestamp } from './deployment.ts';
import type { Endpoint } from './endpoint.ts';
import { type Notification, placeOf, SUBJECTS } from './notification.ts';

/** What a finding is called in a subject, and what a person does about it. */
const FOUND: Record<Exclude<FindingKind, 'unseen'>, { what: string; advice: string }> = {
  older: {
    what: 'holds another version',
    advice: 'Find out what put these files there (a restored volume, an image, another tool).',
  },
  missing: { what: 'lost its files', advice: 'Find out what removed the files.' },
  damaged: {
    what: 'has damaged files',
    advice: 'Find out what changed the files, or replaced the links to them.',
  },
  taken: {
    what: 'belongs to another deployment',
    advice:
      'Two deployments have this name on the node: remove one, or POST the one that is to have it with TakeOver true.',
  },
  foreign: {
    what: 'is not what the port serves',
    advice:
      'Compare the configuration of the server with the paths of the certificate; a reload alone did not change what it serves.',
  },
  silent: {
    what: 'is not served',
    advice: 'Look whether the server runs and listens; it is not started by itself.',
  },
};

const REPAIRED_BY_ITSELF =
  'It is installed there again by itself, at growing distance, unless the deployment is paused or all rollouts are frozen; POST …/rollouts does so at once.';

/** Names at most ten, as all messages do. */
const MOST_NAMED = 10;

/** The message that nodes do not serve what was installed. @param found of one kind. */
export function findingAlert(found: readonly { deployment: Deployment; record: NodeRecord }[]): Notification {
  const [{ deployment, record }] = found as [(typeof found)[number]];
  const kind = record.Finding?.Kind as keyof typeof FOUND;
  const { what, advice } = FOUND[kind];
  const since = found.map(({ record: { Finding } }) => Finding?.Since ?? '').sort();
  const named = found.slice(0, MOST_NAMED).map(({ deployment: { LastHealing: last }, record: of }) => {
    const { NodeId, Finding, Serves } = of;
    const until = Serves ? ` What it was last seen to serve ends at ${Serves.NotAfter}.` : '';
    // It may have ended before it touched a node.
    const error = Finding?.Error ?? (Finding && last && last.At > Finding.Since ? last.Error : undefined);
    const vain = error ? ` Installing it again was in vain: ${error.replace(/[.]?$/, '.')}` : '';
    return `${NodeId}: ${Finding?.Text}${vain}${until}`;
  });
  const places = new Set(found.slice(0, MOST_NAMED).map(({ deployment: of }) => placeOf(of)));
  const more = found.length - named.length;
  return {
    Subject: SUBJECTS.finding(deployment, record.NodeId, what, found.length - 1),
    What: `A look at the servers found something else than what was installed. ${named.join(' ')}${more > 0 ? ` And ${more} more nodes.` : ''}`,
    Where: [...places].join('; '),
    Since: since[0] ?? '',
    WhatToDo: `${advice}${kind === 'silent' || kind === 'taken' ? '' : ` ${REPAIRED_BY_ITSELF}`} You are told again once a day while it lasts.`,
  };
}

/** Any user of a server may choose what its certificates say: a reader sees where that ends. */
const quoted = (text: string) => JSON.stringify(text);

/** The message that certificates which nobody registered end soon. @param endpoints the one that ends first in front. */
export function endpointAlert(endpoints: readonly Endpoint[], now: Date): Notification {
  const [first] = endpoints as [Endpoint];
  const named = endpoints
    .slice(0, MOST_NAMED)
    .map(
      ({ NodeId, Port, Subject, Issuer, NotAfter }) =>
        `${NodeId}, port ${Port}: ${quoted(Subject)}, issued by ${quoted(Issuer)}, ends at ${NotAfter}.`,
    );
  const isOver = first.NotAfter <= timestamp(now);
  return {
    Subject: SUBJECTS.endpoint(
      first.NodeId,
      first.Port,
      isOver ? 'has expired' : 'expires soon',
      endpoints.length - 1,
    ),
    What: `Servers serve certificates that nobody registered here, so that nobody renews them here. ${named.join(' ')}`,
    Where: `account ${first.Account}, Region ${first.Region}`,
    Since: first.Since,
    WhatToDo:
      'Find their owners, or deliver certificates of ACM there. GET /endpoints?Finding=unregistered has all. You are not told again of these.',
  };
}

/** The message that accounts refused the look. @param refused their names and what AWS said. */
export function refusedLooks(refused: readonly [string, string][], now: Date): Notification {
  const [[first, reason]] = refused as [[string, string]];
  const named = refused.slice(0, MOST_NAMED).map(([place]) => place);
  const more = refused.length - named.length;
  return {
    Subject: SUBJECTS.refused(first, refused.length - 1),
    What: `These accounts and Regions did not let reconcile look at what their servers serve. AWS says: ${reason}`,
    Where: `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
    Since: timestamp(now),
    WhatToDo:
      'Update member-account.yaml there: the edition before has no document to look with. Certificates are delivered all the same.',
  };
}
