/** An error in the form in which Lambda answers it. */
export interface FunctionError {
  errorType: string;
  errorMessage: string;
  trace?: string[];
}

/** What an environment answers: once `{ready: true}` or an error of its start, then once for each invocation. */
export type Answer = { ready: true } | { result: string } | { error: FunctionError };

/** The answer of a handler, or the error that it threw (developer guide, "Node.js", "Error handling"). */
export function answerOf(handled: Promise<unknown>): Promise<Exclude<Answer, { ready: true }>> {
  return handled.then(
    (result) => ({ result: JSON.stringify(result === undefined ? null : result) }),
    (error: unknown) => ({ error: shown(error) }),
  );
}

export function shown(error: unknown): FunctionError {
  if (!(error instanceof Error)) return { errorType: typeof error, errorMessage: String(error) };
  return { errorType: error.name, errorMessage: error.message, trace: (error.stack ?? '').split('\n') };
}
