/** Key algorithms that ACM issues public certificates for (ACM User Guide, "Public certificate characteristics"). */
export const KEY_ALGORITHMS = ['RSA_2048', 'EC_prime256v1', 'EC_secp384r1'] as const;

export type RequestStatus = 'ASKING' | 'VALIDATING' | 'REGISTERING' | 'DONE' | 'FAILED';

/** A record that ACM asks for. `*.example.com` and `example.com` share one. */
export interface ValidationRecord {
  Name: string;
  Type: 'CNAME';
  Value: string;
  DomainNames: string[];
}

/** What was written of one record, and where. */
export interface WrittenRecord {
  HostedZoneId: string;
  Account: string;
  At: string;
  /** That of Route 53; absent where the record was there already. */
  ChangeId?: string;
  /** When all servers of Route 53 had it. */
  InSyncAt?: string;
}

/** What a person asked for. The names are normalised; the first one is ACM's DomainName. */
export interface Wish {
  DomainNames: string[];
  KeyAlgorithm: (typeof KEY_ALGORITHMS)[number];
  Tags: Record<string, string>;
}

/** A request for a certificate, as the inventory holds it: one for each CertName. */
export interface CertificateRequest {
  CertName: string;
  RequestNumber: number;
  Status: RequestStatus;
  Wish: Wish;
  CorrelationId: string;
  CreatedAt: string;
  UpdatedAt: string;
  CertificateArn?: string;
  /** When ACM was asked. */
  AskedAt?: string;
  Records?: ValidationRecord[];
  /** By the name of the record. */
  Written?: Record<string, WrittenRecord>;
  /** Why a record could not be written the last time. */
  WritingFailure?: string;
  IssuedAt?: string;
  /** Ids of the deployments that were registered. */
  Registered?: string[];
  EndedAt?: string;
  Error?: string;
}
