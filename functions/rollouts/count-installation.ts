import { count, logger, type MetricName } from '../runtime/observability.ts';

/** One metric for each way in which an installation may end. */
const ENDS = {
  INSTALLED: 'CertificateInstalled',
  DEGRADED: 'CertificateInstalledInPart',
  WAITING: 'NodesAwaited',
  FAILED: 'InstallationFailed',
} as const;

/**
 * Counts and logs what became of an installation.
 *
 * @param goingOn the metric for one that has not ended.
 */
export function countInstallation(status: keyof typeof ENDS | 'IN_PROGRESS', goingOn: MetricName): void {
  if (status === 'IN_PROGRESS') {
    count(goingOn);
  } else {
    count(ENDS[status]);
    logger.info('Installation ended', { Status: status });
  }
}
