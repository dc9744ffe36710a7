// `make render` writes this file, from ssm-documents/exit-codes.yaml.

/** Exit codes of the install script whose cause lies in the node alone, with nothing changed there, and their names. */
export const OWN_FAULTS: Readonly<Record<number, string>> = {
  10: 'agent-too-old',
  12: 'missing-tool',
  13: 'busy',
  14: 'dry-run-impossible',
  15: 'left-out',
  20: 'bundle-denied',
  22: 'bundle-network',
  25: 'bundle-unreadable',
  30: 'rollout-superseded',
  31: 'owned-by-another',
  32: 'path-refused',
  34: 'hook-refused',
  37: 'name-refused',
  50: 'write-failed',
};
