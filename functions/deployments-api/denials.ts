import { isDenial } from '../domain/errors.ts';
import { count } from '../runtime/observability.ts';

/** Of what a target account refuses, the caller is told. */
export function countDenial(error: unknown): void {
  if (isDenial(error)) {
    count('CallDenied');
  }
}
