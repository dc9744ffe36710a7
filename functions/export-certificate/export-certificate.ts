import { X509Certificate } from 'node:crypto';
import { type ACMClient, ExportCertificateCommand } from '@aws-sdk/client-acm';
import { GetRandomPasswordCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { describeDeployable, ownerAllows } from '../certificates/describe-certificate.ts';
import {
  type Deployment,
  normaliseSerial,
  type RolloutInput,
  secretNameOf,
  timestamp,
  versionIdOf,
} from '../domain/deployment.ts';
import { CertificateNotDeployable, RetryLater, RolloutSuperseded } from '../domain/errors.ts';
import type { StoredBundle } from '../domain/installation.ts';
import type { Order } from '../domain/order.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { openRollout } from '../rollouts/open-rollout.ts';
import {
  type BundleValue,
  describeBundle,
  makeCurrent,
  prepareBundle,
  scheduleDeletion,
  storeVersion,
} from '../target-account/bundle.ts';
import {
  type ConnectTarget,
  inTarget,
  type SessionStatement,
  targetArns,
} from '../target-account/session.ts';
import { pkcs12Of } from './pkcs12.ts';

export interface ExportCertificateDeps {
  inventory: Inventory;
  acm: ACMClient;
  connectTarget: ConnectTarget<'secretsManager'>;
  prefix: string;
  partition: string;
  requireCertificateTag: boolean;
}

/**
 * ACM takes any ASCII but `#$%`, 4 to 128 bytes (API reference of ExportCertificate). 64 letters and digits
 * hold about 380 bits and never need quoting.
 */
const PASSPHRASE_LENGTH = 64;

/**
 * Brings the certificate's current version into the bundle in the target account. When that version is there
 * already nothing is exported again.
 *
 * @throws RolloutSuperseded, CertificateNotDeployable, TargetAccessDenied, NotAllowedByOwner, BundleNotStorable,
 *   BundleScheduledForDeletion
 * @throws RetryLater while ACM shows an older version than the one that the rollout began for.
 */
export async function exportCertificate(
  rollout: RolloutInput,
  deps: ExportCertificateDeps,
): Promise<StoredBundle> {
  const open = await openRollout(deps.inventory, rollout);
  if (open.ended) {
    throw new RolloutSuperseded(`Rollout ${rollout.RolloutNumber} has ended.`);
  }
  const { deployment, running } = open;
  const { CertName, CertificateArn, BundleFormats } = running.Order;
  const certificate = await deployable(CertificateArn, CertName, deps);
  // ACM does not show a new version everywhere at once. Versions of one day cannot be told apart by this.
  if (certificate.NotBefore < running.NotBefore) {
    throw new RetryLater(`ACM shows an older version of ${CertificateArn} than ${running.Serial}.`);
  }
  const { secretsManager } = await deps.connectTarget(deployment, sessionStatements(deployment, deps));
  return inTarget(deployment, async () => {
    const name = secretNameOf(deps.prefix, deployment);
    const existing = await describeBundle(secretsManager, name);
    // Who may read it is said by the order as it is now: a reader that was taken out of it meanwhile gets nothing more.
    const SecretArn = await prepareBundle(secretsManager, name, deployment, existing);
    const VersionId = versionIdOf(CertificateArn, certificate.Serial, BundleFormats);
    const isStored = existing?.VersionIdsToStages?.[VersionId] !== undefined;
    if (isStored) {
      await makeCurrent(secretsManager, SecretArn, VersionId, existing);
    }
    const { Serial, NotBefore, NotAfter } = certificate;
    const bundle = isStored
      ? { SecretArn, VersionId, Serial, NotBefore, NotAfter }
      : await exportInto(SecretArn, running.Order, secretsManager, deps.acm);
    await withdrawIfDeleted(deployment, name, secretsManager, deps.inventory);
    return bundle;
  });
}

/** A DELETE that came meanwhile did not see this bundle, or saw it before it was restored. */
async function withdrawIfDeleted(
  deployment: Deployment,
  name: string,
  secretsManager: SecretsManagerClient,
  inventory: Inventory,
): Promise<void> {
  const current = await inventory.get(deployment.DeploymentId);
  if (!current || current.Status === 'DELETING') {
    await scheduleDeletion(secretsManager, name);
    throw new RolloutSuperseded(`Deployment ${deployment.DeploymentId} was deleted while it was exported.`);
  }
}

async function deployable(certificateArn: string, certName: string, deps: ExportCertificateDeps) {
  const certificate = await describeDeployable(deps.acm, certificateArn);
  if (!certificate) {
    throw new CertificateNotDeployable(`ACM does not know ${certificateArn} any more.`);
  }
  if (deps.requireCertificateTag && !(await ownerAllows(deps.acm, certificateArn, certName))) {
    throw new CertificateNotDeployable(
      `The tag CertName of ${certificateArn} does not allow the name ${certName}.`,
    );
  }
  return certificate;
}

/** Serial and expiry come from the exported leaf itself: ACM may renew between describe and export. */
async function exportInto(
  secretArn: string,
  { CertificateArn: certificateArn, CertName, BundleFormats = [] }: Order,
  secretsManager: SecretsManagerClient,
  acm: ACMClient,
): Promise<StoredBundle> {
  const { RandomPassword: passphrase = '' } = await secretsManager.send(
    new GetRandomPasswordCommand({ PasswordLength: PASSPHRASE_LENGTH, ExcludePunctuation: true }),
  );
  const exported = await acm.send(
    new ExportCertificateCommand({
      CertificateArn: certificateArn,
      Passphrase: new TextEncoder().encode(passphrase),
    }),
  );
  const { Certificate = '', CertificateChain = '', PrivateKey = '' } = exported;
  const leaf = new X509Certificate(Certificate);
  const parts = { Certificate, CertificateChain, PrivateKey, Passphrase: passphrase };
  const value: BundleValue = {
    ...parts,
    ...(BundleFormats.includes('pkcs12') ? { Pkcs12: pkcs12Of(parts, CertName).toString('base64') } : {}),
    Serial: normaliseSerial(leaf.serialNumber),
    CertificateArn: certificateArn,
    NotAfter: timestamp(leaf.validToDate),
  };
  const versionId = versionIdOf(certificateArn, value.Serial, BundleFormats);
  await storeVersion(secretsManager, secretArn, versionId, value);
  return {
    SecretArn: secretArn,
    VersionId: versionId,
    Serial: value.Serial,
    NotBefore: timestamp(leaf.validFromDate),
    NotAfter: value.NotAfter,
  };
}

/** Writes to this one bundle, never reads its value. */
function sessionStatements(
  deployment: Deployment,
  config: { prefix: string; partition: string },
): SessionStatement[] {
  return [
    {
      Effect: 'Allow',
      Action: [
        'secretsmanager:DescribeSecret',
        'secretsmanager:CreateSecret',
        'secretsmanager:TagResource',
        'secretsmanager:PutResourcePolicy',
        'secretsmanager:PutSecretValue',
        'secretsmanager:UpdateSecretVersionStage',
        'secretsmanager:RestoreSecret',
        'secretsmanager:DeleteSecret',
      ],
      Resource: targetArns(config, deployment).bundle(deployment),
    },
    // GetRandomPassword has no resource level.
    { Effect: 'Allow', Action: ['secretsmanager:GetRandomPassword'], Resource: '*' },
  ];
}
