import { NotModelled } from './not-modelled.ts';

export interface SignedRequest {
  method: string;
  /** As it stood on the request line, still encoded, without the query. */
  path: string;
  /** As it stood on the request line, still encoded, without the question mark. */
  query: string;
  /** Names in lower case, as node:http gives them. */
  headers: Record<string, string | string[] | undefined>;
  body: Uint8Array | string;
}

export interface Credential {
  secretAccessKey: string;
  sessionToken?: string;
}

/** `name` is AWS's error code: MissingAuthenticationToken, UnrecognizedClientException, SignatureDoesNotMatch … */
export class SignatureError extends Error {
  readonly statusCode: number;
  constructor(name: string, message: string, statusCode = 403) {
    super(message);
    this.name = name;
    this.statusCode = statusCode;
  }
}

/** Verifies AWS Signature Version 4 in the Authorization header. Throws SignatureError. */
export function verifySignature(
  _request: SignedRequest,
  _credentialFor: (accessKeyId: string) => Credential | undefined,
  _now: Date,
): { accessKeyId: string; region: string; service: string } {
  throw new NotModelled('verifySignature');
}
