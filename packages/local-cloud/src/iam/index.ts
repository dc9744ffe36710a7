export type { AccessRequest, PolicyDocument, Principal, Statement } from './evaluate.ts';
export { evaluate } from './evaluate.ts';
export { type SignedRequest, verifySignature } from './sigv4.ts';
