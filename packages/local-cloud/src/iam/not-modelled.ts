/**
 * Thrown for everything of AWS that the local cloud does not know: an operation, a condition operator, an
 * intrinsic function. It is never caught and turned into an answer, so that a gap cannot look like a pass.
 */
export class NotModelled extends Error {
  override name = 'NotModelled';
}
