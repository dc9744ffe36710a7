import type { CertificateRequest, WrittenRecord } from '../domain/certificate-request.ts';
import { timestamp } from '../domain/deployment.ts';
import type { Table } from './table.ts';

/** The requests for certificates: one item for each CertName. */
export class CertificateRequests {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  /** Strongly consistent. */
  async get(certName: string): Promise<CertificateRequest | undefined> {
    return (await this.table.get(keyOf(certName))) as CertificateRequest | undefined;
  }

  /**
   * Notes which records were written, and why others were not.
   *
   * @param noted.WritingFailure the one before is removed where this has none.
   * @returns undefined where the number is not the request's any more.
   */
  async noteRecords(
    certName: string,
    requestNumber: number,
    noted: { Written: Record<string, WrittenRecord>; WritingFailure?: string | undefined },
  ): Promise<CertificateRequest | undefined> {
    const { Written, WritingFailure } = noted;
    const item = await this.table.change(keyOf(certName), {
      set: { Written, WritingFailure, UpdatedAt: timestamp(this.table.now()) },
      remove: WritingFailure === undefined ? ['WritingFailure'] : [],
      condition: 'RequestNumber = :number',
      values: { ':number': requestNumber },
    });
    return item as CertificateRequest | undefined;
  }
}

const keyOf = (certName: string) => ({ DeploymentId: `request#${certName}`, Item: 'request' });
