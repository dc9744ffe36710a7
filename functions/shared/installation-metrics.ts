import { count } from './observed.ts';

/** One metric for each way in which an installation may end. */
const ENDS = {
  INSTALLED: 'CertificateInstalled',
  DEGRADED: 'CertificateInstalledInPart',
  WAITING: 'NodesAwaited',
  FAILED: 'InstallationFailed',
};

/**
 * Counts what became of an installation.
 *
 * @param goingOn the metric for one that has not ended.
 */
export function countInstallation(status: keyof typeof ENDS | 'IN_PROGRESS', goingOn: string): void {
  count(status === 'IN_PROGRESS' ? goingOn : ENDS[status]);
}
