import * as z from 'zod';
import { isCertificateArn } from '../domain/certificate.ts';
import { ownOf, placesOf, SUBJECTS } from '../domain/notification.ts';
import type { Inventory } from '../inventory/inventory.ts';
import type { Notify, Report } from '../notifications/notifier.ts';
import { ignore, readEvent } from '../runtime/event.ts';

/** The fields that are read of ACM's events (ACM user guide, "EventBridge support"). */
const NoticeEvent = z.object({
  source: z.literal('aws.acm'),
  time: z.string().max(64),
  resources: z.array(z.string()).default([]),
  'detail-type': z.string(),
  detail: z.record(z.string(), z.unknown()),
});

export interface ReportCertificateNoticeDeps {
  inventory: Inventory;
  /** Idempotent, as EventBridge delivers at least once. */
  notify: Notify;
}

/** ACM's notices by detail-type (ACM user guide, "EventBridge support"). */
const NOTICES: Record<string, { what: string; whatToDo: string }> = {
  'ACM Certificate Renewal Action Required': {
    what: 'ACM cannot renew the certificate by itself.',
    whatToDo: 'Open the certificate in ACM and complete the validation (usually the DNS CNAME records).',
  },
  'ACM Certificate Expired': {
    what: 'The certificate has expired.',
    whatToDo: 'Request a new certificate and POST the deployments with its ARN.',
  },
  'ACM Certificate Revoked': {
    what: 'The certificate was revoked. Clients may refuse it now.',
    whatToDo: 'Request a new certificate and POST the deployments with its ARN.',
  },
  'ACM Certificate Approaching Expiration': {
    what: 'The certificate expires soon, and ACM has not renewed it yet.',
    whatToDo:
      'Look at the renewal status of the certificate in ACM. If its validation is pending, complete it.',
  },
};

/** Turns ACM's notices into messages to people, one for each certificate, notice and day. */
export async function reportCertificateNotice(
  event: unknown,
  deps: ReportCertificateNoticeDeps,
): Promise<Report> {
  const read = readEvent(NoticeEvent, event, 'an event of ACM');
  if (!read.data) {
    return ignore(read.fault);
  }
  const { 'detail-type': type, resources, detail, time } = read.data;
  const notice = ownOf(NOTICES, type);
  const arn = resources[0] ?? '';
  if (!notice || !isCertificateArn(arn)) {
    return ignore(`${type} is not a notice of ACM about a certificate`);
  }
  const { items: deployments } = await deps.inventory.fleet.page({ CertificateArn: arn }, 100);
  const [first] = deployments;
  if (!first) {
    return ignore('the certificate is not deployed by this system');
  }
  const days = detail.DaysToExpiry;
  await deps.notify(`${type}#${arn}#${time.slice(0, 10)}`, {
    Subject: SUBJECTS.notice(first, type),
    What: `${notice.what}${typeof days === 'number' ? ` ${days} days remain.` : ''} Certificate: ${arn}`,
    Where: placesOf(deployments),
    Since: time,
    WhatToDo: notice.whatToDo,
  });
  return { Reported: arn };
}
