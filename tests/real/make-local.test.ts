import { dirname } from 'node:path';
import { expect, test } from '@jest/globals';
import { localSession } from '../support/local-session.ts';
import { needs } from '../support/needs.ts';
import { realAwsCli } from '../support/tools.ts';

// What `make local` prints is run as it stands there, with the programs that a reader has.

const session = localSession();

needs('curl')('curl registers and asks', async () => {
  const { shell, example, until } = session();
  expect(JSON.parse(await shell(example(/ -d /)))).toMatchObject({ DeploymentId: expect.any(String) });
  await until('INSTALLED', async () => {
    const { Deployments } = JSON.parse(await shell(example(/API_URL\/deployments"$/)));
    return Deployments[0]?.Status === 'INSTALLED';
  });
});

needs('aws', 'curl')(
  'the AWS CLI sees the certificate and the inventory, and a profile for each account',
  async () => {
    const { shell, example, output, environment } = session();
    const aws = dirname(realAwsCli() as string);
    const profiles = (output().split('~/.aws/config')[1] ?? '').split('\n\n')[0]?.split('\n').slice(2) ?? [];
    const config = profiles.map((line) => line.trim()).join('\n');
    const [certificates, items, nodes] = await Promise.all([
      shell(`${example('aws --endpoint-url')} --output text`, aws),
      shell(`${example('aws dynamodb scan')} --output text`, aws),
      shell(
        `cat >"$(dirname '${environment}')/config" <<'END'\n${config}\nEND
unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION AWS_DEFAULT_REGION
export AWS_CONFIG_FILE="$(dirname '${environment}')/config"
aws --profile acm-export-member ssm describe-instance-information --output text`,
        aws,
      ),
    ]);
    expect(certificates).toMatch(/www\.example\.com/);
    expect(items).toMatch(/INSTALLED/);
    expect(nodes).toMatch(/i-[0-9a-f]{17}/);
  },
);

test('nothing of all this went through the proxy around it', () => expect(session().proxied).toEqual([]));
