import { createHash, randomBytes } from 'node:crypto';
import type { BundleValue } from '../../../functions/shared/bundle.ts';
import {
  type CertificateAuthority,
  encryptPrivateKey,
  type KeyAlgorithm,
} from '../../../local/services/certificate-authority.ts';

const DAY = 86_400_000;
const CERTIFICATE_ARN = 'arn:aws:acm:eu-west-1:111122223333:certificate/00000000-0000-4000-8000-000000000000';

export interface Bundle {
  value: BundleValue;
  versionId: string;
}

/** A new version of a certificate, as export-certificate stores it in the target account. */
export async function issueBundle(
  authority: CertificateAuthority,
  names: string[],
  algorithm: KeyAlgorithm = 'EC_prime256v1',
): Promise<Bundle> {
  const [notBefore, notAfter] = [new Date(Date.now() - DAY), new Date(Date.now() + 198 * DAY)];
  const issued = await authority.issue(names, algorithm, notBefore, notAfter);
  const Passphrase = randomBytes(24).toString('base64url');
  const Serial = issued.serial.replaceAll(':', '');
  return {
    value: {
      Certificate: issued.certificatePem,
      CertificateChain: issued.chainPem,
      PrivateKey: encryptPrivateKey(issued.privateKeyDer, Buffer.from(Passphrase)),
      Passphrase,
      Serial,
      CertificateArn: CERTIFICATE_ARN,
      NotAfter: notAfter.toISOString().replace(/\.\d+Z$/, 'Z'),
    },
    versionId: createHash('sha256').update(`${CERTIFICATE_ARN}\0${Serial}`).digest('hex'),
  };
}
