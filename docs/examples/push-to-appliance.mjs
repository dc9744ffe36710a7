// A Lambda function that carries a renewed certificate to a firewall, a load balancer or any other appliance with an
// HTTPS API. An EventBridge rule in the account of the bundle calls it:
//
//   {"source": ["acm-export"], "detail-type": ["CertificateBundleUpdated"]}
//
// Its role is one of the ReaderRoleArns of the deployment. APPLIANCE_URL takes a PUT of certificate, chain and key;
// the name of the field and the login are the appliance's own: change `request` to what yours wants.
import { createPrivateKey } from 'node:crypto';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

const secrets = new SecretsManagerClient({});

/** The key as the appliance wants it: decrypted, in memory only. */
export function decrypted({ PrivateKey, Passphrase }) {
  const key = createPrivateKey({ key: PrivateKey, passphrase: Passphrase });
  return key.export({ type: 'pkcs8', format: 'pem' });
}

function request(bundle) {
  return {
    method: 'PUT',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${process.env.APPLIANCE_TOKEN}` },
    body: JSON.stringify({
      certificate: bundle.Certificate,
      chain: bundle.CertificateChain,
      key: decrypted(bundle),
    }),
  };
}

export async function handler({ detail: { SecretArn, VersionId, CertName, Serial } }) {
  // By version id: an event that is delivered late must not be mistaken for the newest.
  const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: SecretArn, VersionId }));
  const response = await fetch(
    `${process.env.APPLIANCE_URL}/certificates/${CertName}`,
    request(JSON.parse(SecretString)),
  );
  if (!response.ok) {
    // Lambda tries again; the text of the answer might repeat what was sent.
    throw new Error(`The appliance answered ${response.status} to serial ${Serial} of ${CertName}.`);
  }
  return { CertName, Serial };
}
