/** The exit codes, once for code, `--help` and docs/command.md. Pipelines rely on them: none of them changes its meaning. */
export const EXIT = {
  served: 0,
  failed: 1,
  usage: 2,
  timedOut: 3,
  degraded: 4,
  paused: 5,
  changes: 10,
  /** 128 and the number of the signal, as shells have it. */
  interrupted: 130,
} as const;
export type ExitName = keyof typeof EXIT;

export const EXIT_MEANS: Record<ExitName, string> = {
  served: 'Done. Where a rollout was waited for, every server has the version.',
  failed:
    'A rollout or a certificate request failed, the API or AWS refused a request, or doctor found something wrong.',
  usage: 'The command, the file or the request is not valid. Nothing was changed.',
  timedOut: 'The wait took longer than --timeout. What was started goes on.',
  degraded:
    'Some servers cannot be reached (DEGRADED), or none has the tag yet (WAITING); or doctor could not look everywhere.',
  paused: 'The deployment is paused, or all rollouts are frozen or switched off.',
  changes: 'Only with --exit-code: plan found changes, or expiring lists something.',
  interrupted: 'Interrupted by Ctrl-C. What was started goes on.',
};

/** The command ends here, with words for a person and a code for a program. */
export class Stop extends Error {
  override name = 'Stop';
  readonly exit: ExitName;
  /** Lines that say what to do. */
  readonly advice: string[];

  constructor(exit: ExitName, message: string, ...advice: string[]) {
    super(message);
    this.exit = exit;
    this.advice = advice;
  }
}

/** From the best to the worst: of several deployments, the worst one decides. */
const ORDER: ExitName[] = ['served', 'degraded', 'paused', 'timedOut', 'failed', 'interrupted'];

export const worstOf = (names: ExitName[]): ExitName =>
  names.reduce((worst, name) => (ORDER.indexOf(name) > ORDER.indexOf(worst) ? name : worst), 'served');
