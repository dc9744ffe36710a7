import type { RequestState } from './answers.ts';
import type { Api } from './api.ts';
import type { Session } from './connection.ts';
import { type ExitName, Stop, worstOf } from './exit.ts';
import { placeOf, showRecords } from './show-request.ts';
import { type Followed, waitFor } from './wait.ts';

/** A person who has just asked looks at the first answers. */
const LEAST_PAUSE_MS = 2000;
/** Half a minute late is nothing to a wait of hours, and calls of a whole day stay below 3,000. */
const MOST_PAUSE_MS = 30_000;
/** Of what has passed: nobody minds to wait a twentieth longer. */
const PART = 20;

/**
 * Waits until ACM has issued a certificate, and then until the deployments that came with it are served. Says each thing that
 * is new on a line of its own, and shows the records as soon as ACM names them.
 *
 * @param first what the API answered last.
 * @param timeout milliseconds, for all of it.
 * @throws Stop when the person interrupts.
 */
export async function followRequest(
  session: Session,
  first: RequestState,
  timeout: number,
): Promise<ExitName> {
  const { world } = session;
  const api = await session.api();
  const begin = world.now().getTime();
  const elapsed = () => world.now().getTime() - begin;
  const said = new Set<string>();
  let request = first;
  for (;;) {
    tell(session, request, said);
    const left = timeout - elapsed();
    if (isEnded(request) || left <= 0) break;
    const pause = Math.min(Math.max(LEAST_PAUSE_MS, elapsed() / PART), MOST_PAUSE_MS);
    await world.sleep(Math.min(pause, left));
    if (world.interrupted.aborted) throw interruptedWhile(request);
    request = await api.certificateRequest(request.CertName).catch((error: unknown) => {
      throw error instanceof Stop && error.exit === 'interrupted' ? interruptedWhile(request) : error;
    });
  }
  return conclude(session, api, request, timeout - elapsed());
}

const isEnded = ({ Status }: RequestState) => Status === 'DONE' || Status === 'FAILED';
const goOn = ({ CertName }: RequestState) => `acm-export request ${CertName} --wait`;

const interruptedWhile = (request: RequestState) =>
  new Stop('interrupted', 'The wait is over. What was started goes on.', `Go on watching: ${goOn(request)}`);

/** A line for each thing that is new. */
function tell({ out, world }: Session, request: RequestState, said: Set<string>): void {
  const isNew = (text: string) => !said.has(text) && said.add(text);
  const say = (text: string) => {
    if (isNew(text)) out.line(`${world.now().toISOString().slice(11, 19)} ${request.CertName}: ${text}`);
  };
  const { Records = [], Warnings = [], Reason } = request;
  for (const warning of Warnings) if (isNew(warning)) out.note(`Warning: ${warning}`, 'yellow');
  if (!isEnded(request)) say(Reason);
  if (Records.length > 0 && isNew('the records')) showRecords(out, Records);
  for (const record of Records) {
    if (record.WrittenAt) say(`The record ${record.Name} is ${placeOf(record)}.`);
  }
}

/** Says how the request has ended, and waits for the rollouts of its deployments. */
async function conclude(session: Session, api: Api, request: RequestState, left: number): Promise<ExitName> {
  const { out } = session;
  const { CertName, CertificateArn, Status, Error: error, Deployments = [] } = request;
  const isDone = Status === 'DONE';
  // One that is issued may have deployments that were refused.
  const exit = Status === 'FAILED' || (isDone && error) ? 'failed' : isDone ? 'served' : 'timedOut';
  if (isDone) {
    out.line(`${CertName}: issued`, 'green');
    out.paragraph(`ACM has issued ${CertificateArn}.`, '  ');
    if (error) out.paragraph(error, '  ');
  } else if (exit === 'failed') {
    out.line(`${CertName}: FAILED`, 'red');
    out.paragraph(error ?? request.Reason, '  ');
  } else {
    out.line(`${CertName}: timed out`, 'yellow');
    out.paragraph(`Not ended yet, and the wait is over. It goes on: ${goOn(request)}`, '  ');
  }
  const followed: Followed[] = [];
  for (const { DeploymentId } of isDone ? Deployments : []) {
    // One that was refused may not be there.
    const deployment = await api.find(CertName, DeploymentId);
    if (deployment) followed.push({ deployment, awaited: {} });
  }
  if (followed.length > 0) {
    const more = { ...(exit === 'failed' ? { Outcome: exit } : {}), Request: request };
    return worstOf([exit, await waitFor(session, followed, left, more)]);
  }
  if (out.isJson) out.json({ Outcome: exit, Deployments: [], Request: request });
  if (exit === 'served' && Deployments.length === 0) {
    out.line('  No deployment came with the request. To deliver the certificate:');
    out.line(`  acm-export register ${CertName} --certificate-arn ${CertificateArn} --tag key=value`);
  }
  return exit;
}
