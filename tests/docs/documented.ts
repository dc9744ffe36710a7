import { beforeAll, expect } from '@jest/globals';
import { CENTRAL, type Fleet, requestCertificate } from '../../local/example-fleet.ts';
import { deploy, order, plainNode, testFleet } from '../end-to-end/test-fleet.ts';
import { type Command, commandsOf } from './commands.ts';
import { blocksOf, DOCUMENTS } from './documents.ts';

export const WITH_COMMANDS = DOCUMENTS.filter((document) =>
  blocksOf(document).some(({ language }) => language === 'sh' || language === 'console'),
);

export interface Documented {
  fleet: Fleet;
  /** What a reader's shell has set. */
  environment: Record<string, string>;
  commands: Command[];
  /** Those that call one program. */
  of(program: string): Command[];
  /** A word as the reader has filled it in. */
  filledIn(word: string): string;
}

export const written = ({ document, line, words }: Command) => `${document}:${line} ${words.join(' ')}`;

/** Every command of the documents, and the local cloud that they are for, for the tests of one file. */
export function documented(): () => Documented {
  // A command to a server that is offline waits for its time-out: at a hundredth of its time that takes seconds.
  const fleet = testFleet(
    { central: { parameters: { RequestRules: 'shop=shop.example.com,shop=*.shop.example.com' } } },
    0.002,
  );
  let found: Documented;
  beforeAll(async () => {
    const { cloud, central } = fleet();
    const certificateArn = await requestCertificate(fleet(), 'www', ['www.example.com', 'example.com']);
    // Offline: what is asked for here is whether a request is taken, not what comes of it.
    await plainNode(fleet(), 'web', { online: false });
    const { started } = await deploy(fleet(), 'www', order(certificateArn, 'web'));
    const { credentials } = cloud.createUser(CENTRAL.account, 'reader', [
      { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
    ]);
    const environment = {
      AWS_REGION: CENTRAL.region,
      AWS_DEFAULT_REGION: CENTRAL.region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_SESSION_TOKEN: '',
      API_URL: central.apiUrl,
      CERTIFICATE_ARN: certificateArn,
      DEPLOYMENT_ID: started.DeploymentId,
      MEMBER_PARAMETERS: central.output('MemberAccountParameters'),
      POLICY: 'arn:aws:iam::444455556666:policy/acm-export-read-bundle-eu-west-1',
      DASHBOARD: central.output('OperationsDashboardUrl'),
    };
    const commands = WITH_COMMANDS.flatMap((document) => commandsOf(document, environment));
    found = {
      fleet: fleet(),
      environment,
      commands,
      of: (program) => commands.filter((command) => command.program === program),
      filledIn: (word) =>
        word
          .replace(/arn:aws:acm:[\w:-]+:certificate\/…/, certificateArn)
          .replace('"ReloadServices": ["nginx"], "VerifyPort": 443', '"ReloadServices": []')
          .replace('https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/v1', central.apiUrl)
          .replace('444455556666', CENTRAL.account),
    };
  });
  return () => found;
}

export interface Answer {
  status: number;
  body: string;
}

/** Every request to the API that a document shows, sent by what takes the words of curl. */
export async function sendAll(
  { fleet, of, environment, filledIn }: Documented,
  send: (words: string[]) => Promise<Answer>,
): Promise<void> {
  /** Its options are curl's but for those that say how to sign. */
  const asCurl = (command: Command): Command => {
    const { words } = command;
    expect([written(command), ...words.slice(0, 4)]).toEqual([
      written(command),
      ...['--service', 'execute-api', '--region', CENTRAL.region],
    ]);
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = environment;
    const signing = ['--aws-sigv4', `aws:amz:${CENTRAL.region}:execute-api`, '--user', `${id}:${secret}`];
    return { ...command, words: [...signing, ...words.slice(4)] };
  };
  const requests = [...of('curl'), ...of('awscurl').map(asCurl)];
  // Deletions last: the others need what is there.
  const isDelete = ({ words }: Command) => words.includes('DELETE');
  for (const request of [...requests.filter((one) => !isDelete(one)), ...requests.filter(isDelete)]) {
    const { status, body } = await send(request.words.map(filledIn));
    await fleet.cloud.idle();
    const isAccepted = status >= 200 && status < 300;
    expect([written(request), isAccepted || `${status} ${body}`]).toEqual([written(request), true]);
  }
}
