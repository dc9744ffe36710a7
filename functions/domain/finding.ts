import { type Deployment, type FindingKind, type NodeRecord, timestamp } from './deployment.ts';
import type { Endpoint } from './endpoint.ts';
import { asSentence, DAILY, type Notification, pathOf, placeOf, SUBJECTS } from './notification.ts';

/** What a finding is called in a subject, and what a person does about it. */
const FOUND: Record<Exclude<FindingKind, 'unseen'>, { what: string; advice: string }> = {
  older: {
    what: 'holds another version',
    advice: 'Find out what put these files there: a restored volume, an image or another tool.',
  },
  missing: { what: 'lost its files', advice: 'Find out what removed the files.' },
  damaged: {
    what: 'has damaged files',
    advice: 'Find out what changed the files or replaced the links to them.',
  },
  taken: {
    what: 'belongs to another deployment',
    advice:
      'Two deployments have this name on the server. DELETE one of them, or POST the one that is to have the name with TakeOver true.',
  },
  foreign: {
    what: 'is not what the port serves',
    advice:
      'Check that the configuration of the program at the port names the files of the certificate. A reload alone does not change what it serves.',
  },
  silent: {
    what: 'is not served',
    advice: 'Check that the program runs and listens on the port. The system does not start it.',
  },
};

const REPAIRED_BY_ITSELF =
  'The system installs the certificate there again, at growing intervals. It does not while the deployment is paused or all rollouts are frozen.';

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
    const until = Serves ? ` The certificate that it served last expires at ${Serves.NotAfter}.` : '';
    // It may have ended before it touched a node.
    const error = Finding?.Error ?? (Finding && last && last.At > Finding.Since ? last.Error : undefined);
    const vain = error ? ` Installing it again did not help: ${asSentence(error)}` : '';
    return `${NodeId}: ${Finding?.Text}${vain}${until}`;
  });
  const places = new Set(found.slice(0, MOST_NAMED).map(({ deployment: of }) => placeOf(of)));
  const more = found.length - named.length;
  const path = pathOf(found.map(({ deployment: of }) => of));
  return {
    Subject: SUBJECTS.finding(deployment, record.NodeId, what, found.length - 1),
    What: `A look at these servers did not find what was installed there. ${named.join(' ')}${more > 0 ? ` And ${more} more servers.` : ''}`,
    Where: [...places].join('; '),
    Since: since[0] ?? '',
    WhatToDo: `${advice}${kind === 'silent' || kind === 'taken' ? '' : ` ${REPAIRED_BY_ITSELF} To try at once: POST ${path}/rollouts.`} ${DAILY}`,
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
        `${NodeId}, port ${Port}: ${quoted(Subject)}, issued by ${quoted(Issuer)}, expires at ${NotAfter}.`,
    );
  const isOver = first.NotAfter <= timestamp(now);
  return {
    Subject: SUBJECTS.endpoint(
      first.NodeId,
      first.Port,
      isOver ? 'has expired' : 'expires soon',
      endpoints.length - 1,
    ),
    What: `These servers serve certificates that this system neither delivered nor renews. ${named.join(' ')}`,
    Where: `account ${first.Account}, Region ${first.Region}`,
    Since: first.Since,
    WhatToDo:
      'Find the owners of these certificates, or deliver certificates of ACM there. GET /endpoints?Finding=unregistered lists all of them. You get no other message about these.',
  };
}

/** The message that accounts refused the look. @param refused their names and what AWS said. */
export function refusedLooks(refused: readonly [string, string][], now: Date): Notification {
  const [[first, reason]] = refused as [[string, string]];
  const named = refused.slice(0, MOST_NAMED).map(([place]) => place);
  const more = refused.length - named.length;
  return {
    Subject: SUBJECTS.refused(first, refused.length - 1),
    What: `In these accounts and Regions, AWS does not let the system look at what the servers serve. Certificates are still delivered there. AWS says: ${reason}`,
    Where: `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
    Since: timestamp(now),
    WhatToDo:
      'Update member-account.yaml there. The edition before has no document for the look. If the stack is up to date, a service control policy denies ssm:SendCommand. ' +
      DAILY,
  };
}
