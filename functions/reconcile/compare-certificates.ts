import { describeDeployable } from '../certificates/describe-certificate.ts';
import type { Certificate } from '../domain/certificate.ts';
import type { Deployment } from '../domain/deployment.ts';
import { CertificateNotDeployable } from '../domain/errors.ts';
import { alertDaysOf, expiryAlert, isRenewed, renewalAlert, renewalProblem } from '../domain/expiry.ts';
import { wantedAfterRenewal } from '../domain/next.ts';
import { standstillOf } from '../rollouts/advance.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { rateLimit } from '../runtime/rate-limit.ts';
import { guarded, type Pass, type ReconcileDeps } from './pass.ts';
import { tend } from './tend.ts';

/** DescribeCertificate gives 10 a second to the whole account: half of them are left to rollouts and callers. */
const CERTIFICATES_PER_SECOND = 5;
/** Certificates whose deployments are looked at side by side. */
const CERTIFICATES_AT_ONCE = 4;

/** One DescribeCertificate for each certificate, for all its deployments. */
export async function compareCertificates(
  fleet: Deployment[],
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const limit = rateLimit(CERTIFICATES_PER_SECOND, deps);
  const certificates = Map.groupBy(fleet, (d) => d.CertificateArn);
  await inParallel(certificates, CERTIFICATES_AT_ONCE, ([arn, deployments]) =>
    guarded(pass, arn, async () => {
      await limit();
      const certificate = await describe(arn, deps);
      for (const deployment of deployments) {
        await guarded(pass, deployment.DeploymentId, () => follow(deployment, certificate, pass, deps));
      }
      await warnOfExpiry(arn, deployments, certificate, pass, deps);
    }),
  );
}

/** Makes up for an event of a renewal that was lost. */
async function follow(
  deployment: Deployment,
  certificate: Certificate | string,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const { correlationId: CorrelationId } = deps;
  const wanted =
    typeof certificate === 'string'
      ? undefined
      : wantedAfterRenewal(deployment, { ...certificate, Cause: 'RECONCILE', CorrelationId }, deps.now());
  const changed = wanted && (await deps.inventory.want(deployment.DeploymentId, deployment, wanted));
  if (changed) {
    await tend(changed, pass, deps);
  }
}

/** The certificate, or why it can no longer be delivered. */
async function describe(arn: string, deps: ReconcileDeps): Promise<Certificate | string> {
  try {
    return (await describeDeployable(deps.acm, arn)) ?? 'ACM does not know the certificate any more.';
  } catch (error) {
    if (error instanceof CertificateNotDeployable) {
      return error.message;
    }
    throw error;
  }
}

/**
 * Tells people, for all deployments of a certificate in one message, that the expiry comes near, once at each of
 * EXPIRY_ALERT_DAYS, and that ACM will not renew the certificate, once a day.
 */
async function warnOfExpiry(
  arn: string,
  deployments: Deployment[],
  certificate: Certificate | string,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const problem = renewalProblem(certificate, deployments, deps.now());
  const due = deployments.flatMap((deployment) => {
    const days = alertDaysOf(deployment, deps.now());
    return days === undefined ? [] : [{ deployment, days, renewed: isRenewed(deployment, certificate) }];
  });
  const groups = Map.groupBy(
    due,
    ({ days, renewed }) => `${days}#${renewed ? 'not-installed' : 'not-renewed'}`,
  );
  for (const [group, members] of groups) {
    const [{ deployment: first, days, renewed }] = members as [(typeof due)[number]];
    await deps.notify(
      `expiry#${first.DeploymentId}#${group}`,
      expiryAlert(
        arn,
        members.map((member) => member.deployment),
        renewed,
        problem,
        (await standstillOf(deps))?.words,
        deps.now(),
      ),
    );
    pass.Notified += 1;
    for (const { deployment } of members) {
      await deps.inventory.noteExpiryAlert(deployment, days);
    }
  }
  const told = due.some(({ renewed }) => !renewed);
  if (problem && !told) {
    await deps.notify(`renewal#${arn}`, renewalAlert(arn, deployments, problem, deps.now()));
    pass.Notified += 1;
  }
}
