import { randomUUID } from 'node:crypto';
import { NotModelled } from '../iam/not-modelled.ts';
import type { CertificateState } from '../iam/operations.ts';
import {
  type CertificateAuthority,
  encryptPrivateKey,
  type IssuedCertificate,
  type KeyAlgorithm,
} from './certificate-authority.ts';
import { caaAllows, isAnswered, validationRecord } from './domain-validation.ts';
import type { PublicDns } from './public-dns.ts';
import { type Kernel, type Operations, page, parseArn, Regional, ServiceError } from './service.ts';

/** Validity of a public certificate, and how long before its end ACM renews an exportable one (user guide). */
const VALIDITY_DAYS = 198;
const RENEWAL_DAYS_BEFORE_EXPIRY = 45;
/** "Daily expiration events … starting 30 days prior to expiration for public certificates" (user guide). */
const APPROACHING_DAYS = 30;
const DAY = 86_400_000;

const DEFAULT_CERTIFICATES_QUOTA = 2500;
/** "You can use 10 domain names for each certificate" (default quota). */
const NAMES_QUOTA = 10;
const TAGS_QUOTA = 50;
/** "The length of the domain name … cannot exceed 64 octets" (API reference of RequestCertificate, DomainName). */
const COMMON_NAME_OCTETS = 64;
/** "The first 100 subject alternative names" (API reference, CertificateSummary). */
const LISTED_NAMES = 100;
/** "ACM makes repeated attempts to validate a certificate for 72 hours and then times out." */
const VALIDATION_MS = 72 * 3_600_000;
/**
 * After a request "there is a delay of several seconds before you can retrieve information about the new certificate" (API
 * reference). UNCONFIRMED: the figures, and that the certificate is seen before its records, as others report
 * (terraform-provider-aws waits for both).
 */
const SEEN_AFTER_MS = 2000;
const RECORDS_AFTER_MS = 5000;
/** How long ACM takes to look at DNS again. UNCONFIRMED: minutes, by experience; shorter so that tests are. */
const LOOK_MS = 30_000;
const ISSUED_ALGORITHMS: KeyAlgorithm[] = ['RSA_2048', 'EC_prime256v1', 'EC_secp384r1'];

type Status =
  | 'PENDING_VALIDATION'
  | 'ISSUED'
  | 'INACTIVE'
  | 'EXPIRED'
  | 'VALIDATION_TIMED_OUT'
  | 'REVOKED'
  | 'FAILED';
/** Why a request failed, for public certificates and for private ones (service model, FailureReason). */
export type FailureReason =
  | 'NO_AVAILABLE_CONTACTS'
  | 'ADDITIONAL_VERIFICATION_REQUIRED'
  | 'DOMAIN_NOT_ALLOWED'
  | 'INVALID_PUBLIC_DOMAIN'
  | 'DOMAIN_VALIDATION_DENIED'
  | 'CAA_ERROR'
  | 'PCA_LIMIT_EXCEEDED'
  | 'PCA_INVALID_ARN'
  | 'PCA_INVALID_STATE'
  | 'PCA_REQUEST_FAILED'
  | 'PCA_NAME_CONSTRAINTS_VALIDATION'
  | 'PCA_RESOURCE_NOT_FOUND'
  | 'PCA_INVALID_ARGS'
  | 'PCA_INVALID_DURATION'
  | 'PCA_ACCESS_DENIED'
  | 'SLR_NOT_FOUND'
  | 'OTHER';
type RenewalStatus = 'PENDING_AUTO_RENEWAL' | 'PENDING_VALIDATION' | 'SUCCESS' | 'FAILED';

export interface Certificate {
  arn: string;
  account: string;
  region: string;
  names: string[];
  keyAlgorithm: KeyAlgorithm;
  status: Status;
  type: 'AMAZON_ISSUED' | 'PRIVATE' | 'IMPORTED';
  keyPairOrigin: 'AWS_MANAGED' | 'ACME' | 'CUSTOMER_PROVIDED';
  /** Undefined: from before there was the option. */
  exportable: boolean | undefined;
  validationMethod: string;
  tags: Record<string, string>;
  createdAt: Date;
  issuedAt?: Date;
  /** Milliseconds of the clock's waits at which it was requested; absent where DescribeCertificate shows all at once. */
  requestedAfter?: number;
  failureReason?: FailureReason;
  revoked?: { at: Date; reason: string };
  /** Every version ever issued, the current one last. */
  versions: IssuedCertificate[];
  /** "Exported since being issued or last renewed": what makes it eligible for renewal. */
  exported: boolean;
  renewal?: { status: RenewalStatus; reason?: string; at: Date };
  idempotency?: { token: string; request: string; at: Date };
  cancelTimers: (() => void)[];
}

/** What a caller got from ExportCertificate, so that searches for leaks know what to look for. */
interface ExportedKey {
  certificateArn: string;
  serial: string;
  passphrase: string;
  encryptedKeyPem: string;
}

/**
 * AWS Certificate Manager. Source of each rule, where none is named: ACM user guide and the service model of
 * botocore 1.43.
 *
 * UNCONFIRMED: which error a DomainName of more than 64 characters gets, and that a renewal does not look at DNS again (here
 * it does not).
 *
 * Not modelled: validation by e-mail or HTTP, private CAs, import, ACME, Amazon N2, account configuration, sorted lists.
 */
export class Acm {
  /**
   * How requested certificates are validated. Automatic: at once, because public DNS has the records from then on, and
   * DescribeCertificate shows everything at once. Public DNS: when it answers each record and its CAA records allow it; until then as on AWS.
   * By hand: when a test calls `validate`.
   */
  validation: 'automatic' | 'public DNS' | 'by hand' = 'automatic';
  /** Why a certificate with these names fails in place of being issued, for what ACM decides by itself. Default: it does not. */
  failure: (names: string[]) => FailureReason | undefined = () => undefined;
  /** The record by which a name is validated, for an account. A test may let ACM name what it never would. */
  recordOf = validationRecord;
  /** False: nothing is renewed 45 days before its end, as if each validation failed without an event. */
  automaticRenewal = true;
  /** The event of the next renewals comes before DescribeCertificate shows the new serial, by this long. */
  eventLeadMilliseconds = 0;
  readonly exportedKeys: ExportedKey[] = [];
  readonly operations: Operations;
  readonly #kernel: Kernel;
  readonly #authority: CertificateAuthority;
  readonly #publicDns: PublicDns;
  readonly #certificates = new Regional(() => new Map<string, Certificate>());
  #isLookPlanned = false;
  /** Being issued: that takes a moment, and happens once. */
  readonly #concluding = new Set<Certificate>();

  constructor(kernel: Kernel, authority: CertificateAuthority, publicDns: PublicDns) {
    this.#kernel = kernel;
    this.#authority = authority;
    this.#publicDns = publicDns;
    publicDns.onChange(() => this.#planLook());
    this.operations = {
      'CertificateManager.RequestCertificate': (input, { account, region }) =>
        this.#requestCertificate(input, account, region),
      'CertificateManager.DescribeCertificate': (input, { account, region }) => ({
        Certificate: this.#describe(this.#findSeen(input.CertificateArn, account, region)),
      }),
      'CertificateManager.ListCertificates': (input, { account, region }) =>
        this.#listCertificates(input, account, region),
      'CertificateManager.ListTagsForCertificate': (input, { account, region }) => {
        const { tags } = this.#find(input.CertificateArn, account, region);
        const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
        // The model has no empty list of tags.
        return Tags.length > 0 ? { Tags } : {};
      },
      'CertificateManager.AddTagsToCertificate': (input, { account, region }) => {
        const certificate = this.#find(input.CertificateArn, account, region);
        certificate.tags = withTags(certificate.tags, input.Tags);
      },
      'CertificateManager.ExportCertificate': (input, { account, region }) =>
        this.#exportCertificate(input, account, region),
      'CertificateManager.RenewCertificate': (input, { account, region }) =>
        this.#renewCertificate(this.#find(input.CertificateArn, account, region)),
      'CertificateManager.RevokeCertificate': (input, { account, region }) =>
        this.#revokeCertificate(input, account, region),
    };
  }

  /** For policies: what is known of a certificate when a call on it is decided. */
  state(account: string, region: string, arn: string): CertificateState | undefined {
    const certificate = this.#certificates.of(account, region).get(arn);
    if (!certificate) return undefined;
    const { names, keyAlgorithm } = certificate;
    const tags = this.#kernel.delays.tags.seen(certificate, 'tags');
    return { arn, domainNames: names, keyAlgorithm, tags };
  }

  /** The certificate with this ARN, in whatever account. Throws where there is none. */
  certificate(arn: string): Certificate {
    const { account = '', region = '' } = parseArn(arn) ?? {};
    return this.#find(arn, account, region);
  }

  /** Every key ever made, so that searches for leaks know what to look for. */
  privateKeys(): { certificateArn: string; serial: string; der: Buffer }[] {
    return this.#certificates
      .all()
      .flatMap((certificates) => [...certificates.values()])
      .flatMap(({ arn, versions }) =>
        versions.map(({ serial, privateKeyDer }) => ({ certificateArn: arn, serial, der: privateKeyDer })),
      );
  }

  /** Puts a certificate there that RequestCertificate cannot make: of ACME, imported, inactive … */
  async add(
    account: string,
    region: string,
    options: { names: string[]; id?: string } & Partial<
      Pick<Certificate, 'keyAlgorithm' | 'status' | 'type' | 'keyPairOrigin' | 'exportable' | 'tags'>
    >,
  ): Promise<string> {
    const { id, ...given } = options;
    const certificate = this.#create(account, region, given.names, given.keyAlgorithm ?? 'RSA_2048', id);
    Object.assign(certificate, given);
    this.#kernel.delays.tags.watch(certificate, 'tags');
    if (options.status !== 'PENDING_VALIDATION') await this.#issue(certificate, 'ISSUANCE');
    if (options.status) certificate.status = options.status;
    return certificate.arn;
  }

  /** Completes the domain validation of a certificate, however it is validated. */
  async validate(arn: string): Promise<void> {
    const certificate = this.certificate(arn);
    if (certificate.status === 'PENDING_VALIDATION') await this.#conclude(certificate);
  }

  /** ACM gives up a certificate that is not issued yet. There is no event. */
  fail(arn: string, reason: FailureReason): void {
    const certificate = this.certificate(arn);
    if (certificate.status !== 'PENDING_VALIDATION') throw new Error(`${arn} is ${certificate.status}`);
    certificate.status = 'FAILED';
    certificate.failureReason = reason;
    for (const cancel of certificate.cancelTimers.splice(0)) cancel();
  }

  /** ACM's own managed renewal, as it would happen 45 days before expiry. */
  async renew(arn: string): Promise<void> {
    await this.#renew(this.certificate(arn));
  }

  /** The certificate is gone, as after DeleteCertificate. */
  remove(arn: string): void {
    const { account, region, cancelTimers } = this.certificate(arn);
    for (const cancel of cancelTimers) cancel();
    this.#certificates.of(account, region).delete(arn);
  }

  #find(arn: string, account: string, region: string): Certificate {
    const parts = parseArn(arn);
    if (parts?.service !== 'acm' || !parts.resource.startsWith('certificate/')) {
      throw new ServiceError('InvalidArnException', `The ARN ${arn} is not valid.`);
    }
    const certificate = this.#certificates.of(account, region).get(arn);
    // Certificates are regional and cannot be shared: another Region's or account's does not exist here.
    if (!certificate)
      throw new ServiceError('ResourceNotFoundException', `Could not find certificate ${arn}.`);
    return certificate;
  }

  /** A new certificate is not found by everyone at once. */
  #findSeen(arn: string, account: string, region: string): Certificate {
    const certificate = this.#find(arn, account, region);
    if (this.#isYoungerThan(certificate, SEEN_AFTER_MS))
      throw new ServiceError('ResourceNotFoundException', `Could not find certificate ${arn}.`);
    return certificate;
  }

  #isYoungerThan({ requestedAfter }: Certificate, milliseconds: number): boolean {
    return requestedAfter !== undefined && this.#kernel.clock.elapsed() - requestedAfter < milliseconds;
  }

  #create(
    account: string,
    region: string,
    names: string[],
    keyAlgorithm: KeyAlgorithm,
    id: string = randomUUID(),
  ): Certificate {
    const arn = `arn:${this.#kernel.partition}:acm:${region}:${account}:certificate/${id}`;
    const certificate: Certificate = {
      arn,
      account,
      region,
      names,
      keyAlgorithm,
      status: 'PENDING_VALIDATION',
      type: 'AMAZON_ISSUED',
      keyPairOrigin: 'AWS_MANAGED',
      exportable: true,
      validationMethod: 'DNS',
      tags: {},
      createdAt: this.#kernel.clock.now(),
      versions: [],
      exported: false,
      cancelTimers: [],
    };
    this.#certificates.of(account, region).set(arn, certificate);
    return certificate;
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #requestCertificate(input: any, account: string, region: string) {
    const names: string[] = [...new Set([input.DomainName, ...(input.SubjectAlternativeNames ?? [])])];
    const all = this.#certificates.of(account, region);
    const now = this.#kernel.clock.now();
    if (names.length > NAMES_QUOTA || all.size >= DEFAULT_CERTIFICATES_QUOTA) {
      throw new ServiceError('LimitExceededException', 'An ACM quota has been exceeded.');
    }
    if (input.DomainName.length > COMMON_NAME_OCTETS) {
      throw new ServiceError(
        'InvalidParameterException',
        `The domain name ${input.DomainName} has more than ${COMMON_NAME_OCTETS} characters.`,
      );
    }
    const algorithm = input.KeyAlgorithm ?? 'RSA_2048';
    if (!ISSUED_ALGORITHMS.includes(algorithm)) {
      throw new ServiceError('InvalidParameterException', `${algorithm} is not a supported key algorithm.`);
    }
    if (input.ValidationMethod !== undefined && input.ValidationMethod !== 'DNS') {
      throw new ServiceError('InvalidParameterException', 'The local cloud validates by DNS only.');
    }
    const { IdempotencyToken: token, ...request } = input;
    const text = JSON.stringify(request);
    if (token) {
      // "If you call multiple times with the same token within one hour", it is one certificate.
      const same = [...all.values()].find(
        ({ idempotency: first }) =>
          first !== undefined &&
          first.token === token &&
          first.request === text &&
          now.getTime() - first.at.getTime() < 3_600_000,
      );
      if (same) return { CertificateArn: same.arn };
    }
    const tags = withTags({}, input.Tags ?? []);
    const certificate = this.#create(account, region, names, algorithm);
    certificate.tags = tags;
    this.#kernel.delays.tags.watch(certificate, 'tags');
    // Export "can't be changed after the certificate is created", and is off unless asked for.
    certificate.exportable = input.Options?.Export === 'ENABLED';
    if (token) certificate.idempotency = { token, request: text, at: now };
    this.#timeOutLater(certificate);
    if (this.validation === 'automatic') this.#kernel.track(this.#conclude(certificate));
    if (this.validation === 'public DNS') {
      certificate.requestedAfter = this.#kernel.clock.elapsed();
      this.#planLook();
    }
    return { CertificateArn: certificate.arn };
  }

  #timeOutLater(certificate: Certificate): void {
    const { clock } = this.#kernel;
    const end = new Date(certificate.createdAt.getTime() + VALIDATION_MS);
    certificate.cancelTimers.push(
      clock.at(end, () => {
        if (certificate.status === 'PENDING_VALIDATION') certificate.status = 'VALIDATION_TIMED_OUT';
      }),
    );
  }

  /** All pending certificates are looked at soon: when one was requested, and when public DNS answers something else. */
  #planLook(): void {
    if (this.validation !== 'public DNS' || this.#isLookPlanned) return;
    this.#isLookPlanned = true;
    // Nothing under way: a record may never come.
    void this.#kernel.clock.sleep(LOOK_MS).then(() => {
      this.#isLookPlanned = false;
      for (const certificate of this.#certificates.all().flatMap((all) => [...all.values()])) {
        if (this.#isValidated(certificate)) this.#kernel.track(this.#conclude(certificate));
      }
    });
  }

  #isValidated(certificate: Certificate): boolean {
    const { status, account, names } = certificate;
    return (
      status === 'PENDING_VALIDATION' &&
      !this.#concluding.has(certificate) &&
      names.every((name) => isAnswered(this.#publicDns, this.recordOf(account, name)))
    );
  }

  /** The names are validated: the certificate is issued, if nothing else speaks against it. */
  async #conclude(certificate: Certificate): Promise<void> {
    const byPublicDns = this.validation === 'public DNS';
    const reason = this.failure(certificate.names);
    const isRefused = byPublicDns && !certificate.names.every((name) => caaAllows(this.#publicDns, name));
    if (reason) this.fail(certificate.arn, reason);
    else if (isRefused) this.fail(certificate.arn, 'CAA_ERROR');
    else {
      this.#concluding.add(certificate);
      await this.#issue(certificate, 'ISSUANCE').finally(() => this.#concluding.delete(certificate));
    }
  }

  async #issue(certificate: Certificate, action: 'ISSUANCE' | 'RENEWAL'): Promise<void> {
    const now = this.#kernel.clock.now();
    // From midnight to the last second of a day, as ACM's dates are.
    const notBefore = new Date(Math.floor(now.getTime() / DAY) * DAY);
    const notAfter = new Date(notBefore.getTime() + VALIDITY_DAYS * DAY - 1000);
    const { names, keyAlgorithm } = certificate;
    const { clock } = this.#kernel;
    const issued = await clock.during(this.#authority.issue(names, keyAlgorithm, notBefore, notAfter));
    const lead = action === 'RENEWAL' ? this.eventLeadMilliseconds : 0;
    if (lead > 0) {
      this.#publishAvailable(certificate, issued, action);
      await this.#kernel.clock.sleep(lead);
    }
    certificate.versions.push(issued);
    certificate.status = 'ISSUED';
    certificate.issuedAt = now;
    certificate.exported = false;
    if (action === 'ISSUANCE' && this.validation !== 'public DNS') this.#publishRecords(certificate);
    this.#scheduleExpiry(certificate, notAfter);
    if (lead === 0) this.#publishAvailable(certificate, issued, action);
  }

  /** Who validated the certificate has created its records. */
  #publishRecords({ account, names }: Certificate): void {
    for (const name of names) {
      const { Name, Value } = this.recordOf(account, name);
      this.#publicDns.say(Name, 'CNAME', [Value]);
    }
  }

  /** Renewal, daily warnings and expiry, when the clock comes to them. */
  #scheduleExpiry(certificate: Certificate, notAfter: Date): void {
    const { clock } = this.#kernel;
    for (const cancel of certificate.cancelTimers.splice(0)) cancel();
    const daysBefore = (days: number) => new Date(notAfter.getTime() - days * DAY);
    const at = (date: Date, call: () => void) => certificate.cancelTimers.push(clock.at(date, call));
    at(daysBefore(RENEWAL_DAYS_BEFORE_EXPIRY), () => {
      if (this.automaticRenewal && this.#isEligible(certificate))
        this.#kernel.track(this.#renew(certificate));
    });
    for (let days = APPROACHING_DAYS; days > 0; days--) {
      at(daysBefore(days), () => {
        if (certificate.status !== 'ISSUED') return;
        this.#publish(certificate, 'ACM Certificate Approaching Expiration', {
          DaysToExpiry: days,
          CommonName: certificate.names[0],
        });
      });
    }
    at(notAfter, () => {
      if (certificate.status !== 'ISSUED') return;
      certificate.status = 'EXPIRED';
      this.#publish(certificate, 'ACM Certificate Expired', {
        CertificateType: certificate.type,
        CommonName: certificate.names[0],
        DomainValidationMethod: certificate.validationMethod,
        CertificateCreatedDate: seconds(certificate.createdAt),
        CertificateExpirationDate: seconds(notAfter),
        InUse: false,
        Exported: certificate.exported,
      });
    });
  }

  /** "Exported since being issued or last renewed" (user guide, "Managed certificate renewal"). */
  #isEligible({ status, type, keyPairOrigin, exported }: Certificate): boolean {
    return status === 'ISSUED' && type !== 'IMPORTED' && keyPairOrigin === 'AWS_MANAGED' && exported;
  }

  #renewCertificate(certificate: Certificate): void {
    if (certificate.status === 'PENDING_VALIDATION') throw inProgress(certificate);
    // The code is declared for this operation; which refusal uses it is UNCONFIRMED.
    if (!this.#isEligible(certificate)) {
      throw new ServiceError(
        'ValidationException',
        `Certificate ${certificate.arn} is not eligible for renewal.`,
      );
    }
    certificate.renewal = { status: 'PENDING_AUTO_RENEWAL', at: this.#kernel.clock.now() };
    this.#kernel.track(this.#renew(certificate));
  }

  async #renew(certificate: Certificate): Promise<void> {
    certificate.renewal = { status: 'PENDING_AUTO_RENEWAL', at: this.#kernel.clock.now() };
    await this.#issue(certificate, 'RENEWAL');
    certificate.renewal = { status: 'SUCCESS', at: this.#kernel.clock.now() };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #exportCertificate(input: any, account: string, region: string) {
    const passphrase = Buffer.from(input.Passphrase, 'base64');
    const certificate = this.#find(input.CertificateArn, account, region);
    // "Any ASCII character except #, $, or %". Which error a breach gets is UNCONFIRMED.
    if (
      !/^[\x20-\x7e]*$/.test(passphrase.toString('latin1')) ||
      /[#$%]/.test(passphrase.toString('latin1'))
    ) {
      throw new ServiceError(
        'ValidationException',
        'The passphrase contains a character that is not allowed.',
      );
    }
    if (certificate.status === 'PENDING_VALIDATION') throw inProgress(certificate);
    // The option Export is one of public certificates; private ones can be exported anyway (API reference of
    // ExportCertificate). Which error a certificate gets that is not exportable is UNCONFIRMED.
    const { type, exportable, keyPairOrigin } = certificate;
    if ((type !== 'PRIVATE' && !exportable) || keyPairOrigin !== 'AWS_MANAGED' || type === 'IMPORTED') {
      throw new ServiceError('ValidationException', `Certificate ${certificate.arn} cannot be exported.`);
    }
    if (certificate.status !== 'ISSUED') {
      throw new ServiceError(
        'ValidationException',
        `Certificate ${certificate.arn} is ${certificate.status}.`,
      );
    }
    const { certificatePem, chainPem, privateKeyDer, serial } = current(certificate);
    const encryptedKeyPem = encryptPrivateKey(privateKeyDer, passphrase);
    certificate.exported = true;
    this.exportedKeys.push({
      certificateArn: certificate.arn,
      serial,
      passphrase: passphrase.toString('latin1'),
      encryptedKeyPem,
    });
    return { Certificate: certificatePem, CertificateChain: chainPem, PrivateKey: encryptedKeyPem };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #revokeCertificate(input: any, account: string, region: string) {
    const certificate = this.#find(input.CertificateArn, account, region);
    // "You can only revoke certificates that have been previously exported."
    const everExported = this.exportedKeys.some(({ certificateArn }) => certificateArn === certificate.arn);
    if (certificate.status !== 'ISSUED' || !everExported) {
      throw new ServiceError('ValidationException', `Certificate ${certificate.arn} cannot be revoked.`);
    }
    certificate.status = 'REVOKED';
    certificate.revoked = { at: this.#kernel.clock.now(), reason: input.RevocationReason };
    for (const cancel of certificate.cancelTimers.splice(0)) cancel();
    this.#publish(certificate, 'ACM Certificate Revoked', {
      CertificateType: certificate.type,
      CommonName: certificate.names[0],
      CertificateExpirationDate: seconds(current(certificate).notAfter),
      Exportable: certificate.exportable,
    });
    return { CertificateArn: certificate.arn };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #listCertificates(input: any, account: string, region: string) {
    const { CertificateStatuses: statuses, Includes: includes = {}, MaxItems, NextToken } = input;
    const { keyTypes = ['RSA_2048'], exportOption: option, ...otherFilters } = includes;
    const unknown = [
      ...Object.keys(otherFilters),
      ...['SortBy', 'RootHierarchyTypes'].filter((name) => input[name]),
    ];
    if (unknown.length > 0) throw new NotModelled(`ListCertificates by ${unknown.join(', ')}`);
    const origins = input.CertificateKeyPairOrigins ?? ['AWS_MANAGED', 'CUSTOMER_PROVIDED'];
    const found = [...this.#certificates.of(account, region).values()].filter(
      (certificate) =>
        (!statuses || statuses.includes(certificate.status)) &&
        keyTypes.includes(certificate.keyAlgorithm) &&
        origins.includes(certificate.keyPairOrigin) &&
        !this.#isYoungerThan(certificate, SEEN_AFTER_MS) &&
        (!option || option === exportOption(certificate)),
    );
    const { items, nextToken } = page(
      found,
      MaxItems ?? 1000,
      NextToken,
      () => new ServiceError('ValidationException', 'The token is not valid.'),
    );
    return {
      CertificateSummaryList: items.map((certificate) => {
        const version = certificate.versions.at(-1);
        return {
          CertificateArn: certificate.arn,
          DomainName: certificate.names[0],
          SubjectAlternativeNameSummaries: certificate.names.slice(0, LISTED_NAMES),
          HasAdditionalSubjectAlternativeNames: certificate.names.length > LISTED_NAMES,
          Status: certificate.status,
          Type: certificate.type,
          KeyAlgorithm: shownAlgorithm(certificate),
          InUse: false,
          ExportOption: exportOption(certificate),
          Exported: certificate.exported,
          RenewalEligibility: this.#isEligible(certificate) ? 'ELIGIBLE' : 'INELIGIBLE',
          CertificateKeyPairOrigin: certificate.keyPairOrigin,
          KeyUsages: version && ['DIGITAL_SIGNATURE'],
          ExtendedKeyUsages: version && ['TLS_WEB_SERVER_AUTHENTICATION'],
          RevokedAt: certificate.revoked?.at,
          NotBefore: version?.notBefore,
          NotAfter: version?.notAfter,
          CreatedAt: certificate.createdAt,
          IssuedAt: certificate.issuedAt,
        };
      }),
      NextToken: nextToken,
    };
  }

  #describe(certificate: Certificate) {
    const version = certificate.versions.at(-1);
    const validations = this.#domainValidation(certificate);
    return {
      CertificateArn: certificate.arn,
      DomainName: certificate.names[0],
      SubjectAlternativeNames: certificate.names,
      DomainValidationOptions: validations,
      Subject: `CN=${certificate.names[0]}`,
      Serial: version?.serial,
      Issuer: version?.issuer,
      NotBefore: version?.notBefore,
      NotAfter: version?.notAfter,
      CreatedAt: certificate.createdAt,
      IssuedAt: certificate.issuedAt,
      Status: certificate.status,
      FailureReason: certificate.failureReason,
      RevokedAt: certificate.revoked?.at,
      RevocationReason: certificate.revoked?.reason,
      KeyAlgorithm: shownAlgorithm(certificate),
      SignatureAlgorithm: 'SHA256WITHECDSA',
      InUseBy: [],
      Type: certificate.type,
      RenewalSummary: certificate.renewal && {
        RenewalStatus: certificate.renewal.status,
        RenewalStatusReason: certificate.renewal.reason,
        DomainValidationOptions: validations,
        UpdatedAt: certificate.renewal.at,
      },
      KeyUsages: [{ Name: 'DIGITAL_SIGNATURE' }],
      ExtendedKeyUsages: [{ Name: 'TLS_WEB_SERVER_AUTHENTICATION', OID: '1.3.6.1.5.5.7.3.1' }],
      RenewalEligibility: this.#isEligible(certificate) ? 'ELIGIBLE' : 'INELIGIBLE',
      Options: {
        CertificateTransparencyLoggingPreference: 'ENABLED',
        Export: certificate.exportable === undefined ? undefined : exportOption(certificate),
      },
      CertificateKeyPairOrigin: certificate.keyPairOrigin,
    };
  }

  #domainValidation(certificate: Certificate) {
    const { account, names, validationMethod, status } = certificate;
    return names.map((name) => {
      const record = this.recordOf(account, name);
      return {
        DomainName: name,
        ValidationDomain: name,
        ValidationStatus: this.#validationStatus(status, record),
        ValidationMethod: validationMethod,
        ...(this.#isYoungerThan(certificate, RECORDS_AFTER_MS) ? {} : { ResourceRecord: record }),
      };
    });
  }

  #validationStatus(status: Status, record: { Name: string; Value: string }) {
    if (status === 'FAILED' || status === 'VALIDATION_TIMED_OUT') return 'FAILED';
    if (status !== 'PENDING_VALIDATION') return 'SUCCESS';
    const isDone = this.validation === 'public DNS' && isAnswered(this.#publicDns, record);
    return isDone ? 'SUCCESS' : 'PENDING_VALIDATION';
  }

  #daysToExpiry(certificate: Certificate, { notAfter } = current(certificate)): number {
    return Math.floor((notAfter.getTime() - this.#kernel.clock.now().getTime()) / DAY);
  }

  /** The documented fields and no other: the serial is not among them. */
  #publishAvailable(
    certificate: Certificate,
    issued: IssuedCertificate,
    action: 'ISSUANCE' | 'RENEWAL',
  ): void {
    this.#publish(certificate, 'ACM Certificate Available', {
      Action: action,
      CertificateType: certificate.type,
      CommonName: certificate.names[0],
      FirstSubjectAlternativeName: certificate.names[0],
      ValidityInDays: VALIDITY_DAYS,
      CertificateKeyPairOrigin: certificate.keyPairOrigin,
      DomainValidationMethod: certificate.validationMethod,
      CertificateCreatedDate: seconds(certificate.createdAt),
      CertificateExpirationDate: seconds(issued.notAfter),
      DaysToExpiry: this.#daysToExpiry(certificate, issued),
      InUse: false,
      // Of the old or of the new version: UNCONFIRMED. The unwelcome value, so that no rule relies on it.
      Exported: false,
    });
  }

  #publish({ arn, account, region }: Certificate, detailType: string, detail: object): void {
    this.#kernel.publish({
      source: 'aws.acm',
      'detail-type': detailType,
      account,
      region,
      resources: [arn],
      detail,
    });
  }
}

function current({ arn, versions }: Certificate): IssuedCertificate {
  const version = versions.at(-1);
  if (!version) throw new Error(`${arn} was never issued`);
  return version;
}

function inProgress({ arn }: Certificate): ServiceError {
  return new ServiceError('RequestInProgressException', `The certificate ${arn} has not yet been issued.`);
}

/** Times in ACM's events have no fractions. */
function seconds(date: Date): string {
  return date.toISOString().replace(/\.\d+/, '');
}

function withTags(
  old: Record<string, string>,
  added: { Key: string; Value?: string }[],
): Record<string, string> {
  const tags = { ...old };
  for (const { Key, Value = '' } of added) {
    if (/^aws:/i.test(Key)) {
      throw new ServiceError('InvalidTagException', `The tag ${Key} is not valid.`);
    }
    tags[Key] = Value;
  }
  if (Object.keys(tags).length > TAGS_QUOTA) {
    throw new ServiceError('TooManyTagsException', 'The request contains too many tags.');
  }
  return tags;
}

/** Answers write RSA-2048 (examples in the AWS CLI reference) where requests and the model write RSA_2048. */
function shownAlgorithm({ keyAlgorithm }: Certificate): string {
  return keyAlgorithm.replace('RSA_', 'RSA-');
}

const exportOption = ({ exportable }: Certificate) => (exportable ? 'ENABLED' : 'DISABLED');
