export { SignatureV4 } from '@smithy/signature-v4';
