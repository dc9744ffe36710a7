import { type Answer, answerText } from '../domain/deployment-resource.ts';
import type { Clock } from '../runtime/clock.ts';

const PAUSES_MS = [500, 1000, 2000, 4000];
const TIMEOUT_MS = 5000;

/**
 * The address of an answer, where it is one: on a host of AWS, by HTTPS. Which bucket it is CloudFormation decides, and may
 * decide anew: a list of its buckets here would one day keep every stack waiting for an hour.
 *
 * @throws Error that does not name the address. A person who has it can answer in place of this function.
 */
export function addressOf(responseUrl: string): URL {
  const url = URL.parse(responseUrl);
  const isOfAws =
    url?.protocol === 'https:' &&
    /\.amazonaws\.com(\.cn)?$/.test(url.hostname) &&
    url.port === '' &&
    url.username === '';
  if (!url || !isOfAws) throw new Error('The ResponseURL is not an address of AWS: nothing was done.');
  return url;
}

/**
 * Answers CloudFormation. The address is presigned without a content type, and is in no log or error.
 *
 * @throws Error when it is not taken: CloudFormation then waits until ServiceTimeout, and undoes what was asked for.
 */
export async function respond(
  url: URL,
  answer: Answer,
  send: typeof fetch,
  clock: Pick<Clock, 'sleep'>,
): Promise<void> {
  // Bytes: of a text fetch would make text/plain.
  const body = Buffer.from(answerText(answer));
  for (const pause of [...PAUSES_MS, undefined]) {
    const status = await send(url, {
      method: 'PUT',
      headers: { 'content-type': '' },
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).then(
      ({ status: answered }) => answered,
      () => 599,
    );
    if (status < 300) return;
    if (pause === undefined || (status < 500 && status !== 429)) {
      throw new Error(`CloudFormation's address for the answer does not take it: HTTP ${status}.`);
    }
    await clock.sleep(pause);
  }
}
