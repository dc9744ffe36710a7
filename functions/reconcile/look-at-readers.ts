import { isDeepStrictEqual } from 'node:util';
import { type Deployment, timestamp } from '../domain/deployment.ts';
import { placeOf, SUBJECTS } from '../domain/notification.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { findReaders } from '../target-account/readers.ts';
import { guarded, type Pass, type ReconcileDeps } from './pass.ts';

/** Each makes a call, and one for each of its readers. IAM publishes no quota. */
const DEPLOYMENTS_AT_ONCE = 4;

/** Tells people of reader roles that do not exist: of each once, until it exists again. */
export async function lookAtReaders(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  await inParallel(
    fleet.filter(({ ReaderRoleArns }) => ReaderRoleArns),
    DEPLOYMENTS_AT_ONCE,
    (deployment) =>
      guarded(pass, `the readers of ${deployment.DeploymentId}`, () => lookAt(deployment, pass, deps)),
  );
}

async function lookAt(deployment: Deployment, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const { DeploymentId, CertName, CertificateArn, ReaderRoleArns: readers = [] } = deployment;
  const { MissingReaderRoleArns: told = [] } = deployment;
  const { present, missing, denied } = await findReaders(
    (statements) => deps.connectTarget(deployment, statements),
    readers,
  );
  const absent = readers.filter(
    (arn) => missing.includes(arn) || (told.includes(arn) && !present.includes(arn)),
  );
  const untold = absent.filter((arn) => !told.includes(arn));
  if (untold.length > 0) {
    await deps.notify(`readers#${DeploymentId}#${untold.join()}`, {
      Subject: SUBJECTS.readers(deployment),
      What:
        `These roles are to read the bundle of certificate ${CertName} (${CertificateArn}), but they do not exist: ` +
        `${untold.join(', ')}. The other readers get every version.`,
      Where: placeOf(deployment),
      Since: timestamp(deps.now()),
      WhatToDo:
        'Create the role with exactly this ARN, including its path. It can read at once. If nobody needs it, POST the ' +
        'deployment with ReaderRoleArns without it. You get another message only about another role, or if this role ' +
        'was created and deleted again.',
    });
    pass.Notified += 1;
  }
  if (!isDeepStrictEqual(absent, told)) {
    await deps.inventory.noteMissingReaders(deployment, absent);
  }
  if (denied) {
    throw denied;
  }
}
