import { type Deployment, timestamp } from '../domain/deployment.ts';
import { freezeAlert, lasting, stopsOf, stopsReminder, thawAlert } from '../domain/freeze.ts';
import { wasTold } from '../domain/notification.ts';
import type { Pass, ReconcileDeps } from './pass.ts';

/** Tells people that all rollouts were frozen, and that they were thawed: once each, within a sweep. */
export async function tellOfFreeze(pass: Pass, deps: ReconcileDeps): Promise<void> {
  const { freezes } = deps.inventory;
  const freeze = await freezes.get();
  const isOver = freeze && !lasting(freeze);
  if (freeze && freeze.Told === undefined) {
    await deps.notify(`frozen#${freeze.Id}`, freezeAlert(freeze));
    pass.Notified += 1;
    await freezes.noteTold(freeze, 'frozen');
  }
  if (isOver && freeze.Told !== 'thawed') {
    await deps.notify(`thawed#${freeze.Id}`, thawAlert(freeze));
    pass.Notified += 1;
    await freezes.noteTold(freeze, 'thawed');
  }
}

/** Reminds people, once a day and in one message, of what has stood still for reminderDays. */
export async function remindOfStops(
  fleet: readonly Deployment[],
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const { inventory, reminderDays, rolloutsEnabled } = deps;
  if (reminderDays === 0) {
    return;
  }
  const now = deps.now();
  const known = await inventory.reminders.get();
  // Nothing tells when the parameter was changed.
  const OffSince = rolloutsEnabled ? undefined : (known.OffSince ?? timestamp(now));
  const stops = { offSince: OffSince, freeze: await inventory.freezes.current(), fleet };
  const reminder = wasTold(known.ToldAt, now) ? undefined : stopsReminder(stopsOf(stops, reminderDays, now));
  if (reminder) {
    await deps.notify('stopped', reminder);
    pass.Notified += 1;
  }
  if (reminder || OffSince !== known.OffSince) {
    await inventory.reminders.note({ OffSince, ToldAt: reminder ? timestamp(now) : known.ToldAt });
  }
}
