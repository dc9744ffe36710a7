import type { CertificateDetail } from '@aws-sdk/client-acm';
import { awsError, FakeService } from './fake-service.ts';
import { type Issued, issuedCertificate } from './issued-certificates.ts';

interface HeldCertificate {
  detail: CertificateDetail;
  tags: Record<string, string>;
  version: Issued;
}

/** Exportable certificates in one account and Region. */
export class FakeAcm extends FakeService {
  readonly certificates = new Map<string, HeldCertificate>();
  /** What happens between DescribeCertificate and ExportCertificate. */
  beforeExport: () => void = () => {};
  #versions = 0;

  /** Issues a certificate that may be deployed under every name that begins with a prefix. */
  async issue(
    id: string,
    detail: Partial<CertificateDetail> = {},
    tags: Record<string, string> = { CertName: '+' },
  ): Promise<string> {
    const arn = `arn:aws:acm:eu-central-1:111122223333:certificate/${id}`;
    const version = await this.#next();
    this.certificates.set(arn, {
      detail: {
        CertificateArn: arn,
        Status: 'ISSUED',
        Type: 'AMAZON_ISSUED',
        Options: { Export: 'ENABLED' },
        RenewalEligibility: 'ELIGIBLE',
        CertificateKeyPairOrigin: 'AWS_MANAGED',
        ...detail,
      },
      tags,
      version,
    });
    return arn;
  }

  /**
   * The next version is there; resolves to its serial.
   *
   * @param day of its issue, counted from the first day of the clock.
   */
  async renew(arn: string, day = 0): Promise<string> {
    const version = await this.#next(day);
    this.held(arn).version = version;
    return version.serial;
  }

  held(arn: string): HeldCertificate {
    const held = this.certificates.get(arn);
    if (!held) {
      throw awsError('ResourceNotFoundException', `Could not find certificate ${arn}.`);
    }
    return held;
  }

  serialOf(arn: string): string {
    return this.held(arn).version.serial;
  }

  DescribeCertificate({ CertificateArn }: { CertificateArn: string }) {
    const { detail, version } = this.held(CertificateArn);
    const Serial = version.serial.match(/../g)?.join(':');
    return { Certificate: { ...detail, Serial, NotAfter: version.notAfter } };
  }

  ListTagsForCertificate({ CertificateArn }: { CertificateArn: string }) {
    const { tags } = this.held(CertificateArn);
    return { Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) };
  }

  ExportCertificate({ CertificateArn, Passphrase }: { CertificateArn: string; Passphrase: Uint8Array }) {
    this.beforeExport();
    if (Passphrase.length < 4 || /[#$%]/.test(new TextDecoder().decode(Passphrase))) {
      throw awsError('ValidationException', 'The passphrase does not meet the requirements.');
    }
    const { version } = this.held(CertificateArn);
    // Each export encrypts the key anew.
    const PrivateKey = `a key encrypted for the ${this.callsOf('ExportCertificate').length}th time\n`;
    return { Certificate: version.pem, CertificateChain: version.pem, PrivateKey };
  }

  RenewCertificate({ CertificateArn }: { CertificateArn: string }) {
    this.held(CertificateArn);
    return {};
  }

  #next(day = 0): Promise<Issued> {
    this.#versions += 1;
    return issuedCertificate(this.#versions, day);
  }
}
