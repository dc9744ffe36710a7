import { Stop } from './exit.ts';

const MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `30m`, `12h` or `30d` in milliseconds. @throws Stop */
export function durationOf(text: string, option: string): number {
  const [, amount, unit] = /^([0-9]{1,6})([smhd])$/.exec(text) ?? [];
  if (!amount || !unit) {
    throw new Stop('usage', `${option} takes a time such as 90s, 30m, 12h or 30d, and not "${text}".`);
  }
  return Number(amount) * (MS[unit] as number);
}

/** `in 12 min`, `3 h ago`: in the largest unit of which there are two, or that is the smallest. */
export function distanceOf(iso: string, now: Date): string {
  const ms = Date.parse(iso) - now.getTime();
  const size = Math.abs(ms);
  const [unit, name] =
    size >= 2 * 86_400_000
      ? [86_400_000, 'days']
      : size >= 2 * 3_600_000
        ? [3_600_000, 'h']
        : size >= 120_000
          ? [60_000, 'min']
          : [1000, 's'];
  const amount = `${Math.floor(size / unit)} ${name}`;
  return ms >= 0 ? `in ${amount}` : `${amount} ago`;
}

/** `2027-06-09 (194 days)`; of what has ended, that it has. */
export function untilOf(iso: string | undefined, now: Date): string {
  if (!iso) return '-';
  const days = Math.floor((Date.parse(iso) - now.getTime()) / 86_400_000);
  return `${iso.slice(0, 10)} (${days < 0 ? 'expired' : `${days} ${days === 1 ? 'day' : 'days'}`})`;
}
