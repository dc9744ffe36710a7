import type { Deployment, DeploymentWithNodes, Node } from './answers.ts';
import type { Output } from './output.ts';
import type { Colour, Column } from './table.ts';
import { distanceOf, untilOf } from './time.ts';

const SOON_DAYS = 14;

export const statusOf = ({ Status, PausedAt }: Deployment): string =>
  PausedAt ? `${Status}, paused` : Status;

export function statusColour({ Status, PausedAt }: Deployment): Colour {
  if (Status === 'FAILED') return 'red';
  return Status === 'INSTALLED' && !PausedAt ? 'green' : 'yellow';
}

export const targetOf = (one: Deployment): string =>
  `${one.TargetTagKey}=${one.TargetTagValue} ${one.TargetAccount} ${one.TargetRegion}`;

function untilColour(iso: string | undefined, now: Date): Colour | undefined {
  if (!iso) return undefined;
  const days = (Date.parse(iso) - now.getTime()) / 86_400_000;
  return days < 0 ? 'red' : days < SOON_DAYS ? 'yellow' : undefined;
}

const id: Column<Deployment> = { title: 'ID', text: ({ DeploymentId }) => DeploymentId.slice(0, 8) };
const name: Column<Deployment> = { title: 'NAME', text: ({ CertName }) => CertName };
const target: Column<Deployment> = { title: 'TARGET', text: targetOf, isCut: true };
const status: Column<Deployment> = { title: 'STATUS', text: statusOf, colour: statusColour };
const until = (now: Date): Column<Deployment> => ({
  title: 'SERVED UNTIL',
  text: ({ EarliestNotAfter }) => untilOf(EarliestNotAfter, now),
  colour: ({ EarliestNotAfter }) => untilColour(EarliestNotAfter, now),
});
const next = (now: Date): Column<Deployment> => ({
  title: 'NEXT TRY',
  text: ({ NextAttemptAt: at }) => (at ? distanceOf(at, now) : '-'),
});

export const listColumns = (now: Date): Column<Deployment>[] => [
  id,
  name,
  target,
  status,
  until(now),
  next(now),
];

export const expiringColumns = (now: Date): Column<Deployment>[] => [
  until(now),
  name,
  target,
  status,
  { title: 'SERVER', text: ({ EarliestNodeId }) => EarliestNodeId ?? '-' },
  { title: 'WHY', text: ({ Reason, LastError }) => LastError ?? Reason, isCut: true },
];

/** A line for a field that has a value, more of them for a value of several lines. */
export function says(out: Output, title: string, text: string | undefined): void {
  if (text === undefined || text === '') return;
  const [first = '', ...more] = text.split('\n');
  out.line(`${title}:`.padEnd(16) + first);
  for (const line of more) out.line(' '.repeat(16) + line);
}

/** All that there is to know of a deployment, for people. */
export function showDeployment(out: Output, one: DeploymentWithNodes, now: Date): void {
  const fields: [string, string | undefined][] = [
    ['Name', one.CertName],
    ['DeploymentId', one.DeploymentId],
    ['Certificate', one.CertificateArn],
    ['Target', targetOf(one)],
    ['Status', statusOf(one)],
    [
      'Served until',
      untilOf(one.EarliestNotAfter, now) + (one.EarliestNodeId ? `, on ${one.EarliestNodeId}` : ''),
    ],
    ['Serial', one.Serial],
    ['Reason', one.Reason],
    ['Next attempt', one.NextAttemptAt && `${one.NextAttemptAt} (${distanceOf(one.NextAttemptAt, now)})`],
    ['Paused since', one.PausedAt],
    ['Failing since', one.FailingSince && `${one.FailingSince}, ${one.Failures} in a row`],
    ['Error', one.LastError],
    [
      'Last rollout',
      one.LastRollout &&
        `${one.LastRollout.Number} ${one.LastRollout.Status} at ${one.LastRollout.At} (${one.LastRollout.Cause})`,
    ],
    [
      'Last dry run',
      one.LastTrial &&
        `${one.LastTrial.Status} at ${one.LastTrial.At}${one.LastTrial.Error ? `: ${one.LastTrial.Error}` : ''}`,
    ],
    ['Bundle', one.BundleFinding && bundleOf(one.BundleFinding)],
    ['Missing readers', one.MissingReaderRoleArns?.join('\n')],
  ];
  for (const [title, text] of fields) says(out, title, text);
  const settings = SETTINGS.flatMap((field) => {
    const value = one[field];
    const text = Array.isArray(value) ? value.join(', ') : value === undefined ? '' : String(value);
    return text === '' ? [] : [`${field} ${text}`];
  });
  says(out, 'Settings', settings.join('\n'));
  if (one.Nodes.length === 0) {
    if (one.Delivery === 'nodes') says(out, 'Servers', 'none has reported yet');
    return;
  }
  out.line();
  out.table(nodeColumns(now), one.Nodes);
  const more = one.Nodes.flatMap(({ NodeId, Error: error, Note, Finding }) => [
    ...(error ? [`${NodeId} error: ${error}`] : []),
    ...(Note ? [`${NodeId} note: ${Note}`] : []),
    ...(Finding
      ? [
          `${NodeId} finding since ${Finding.Since}: ${Finding.Text}${Finding.Error ? ` ${Finding.Error}` : ''}`,
        ]
      : []),
  ]);
  if (more.length > 0) out.line();
  for (const text of more) out.paragraph(text, '  ');
}

const SETTINGS = [
  'Delivery',
  'ReloadServices',
  'RestartServices',
  'VerifyPort',
  'VerifyName',
  'VerifyProtocol',
  'KeyFormat',
  'ExtraFormats',
  'KeyMode',
  'KeyGroup',
  'TakeOver',
  'MaxConcurrency',
  'MaxErrors',
  'ExcludeNodeIds',
  'ReaderRoleArns',
  'BundleFormats',
] as const;

const bundleOf = ({ Kind, Since, DeletableFrom }: NonNullable<Deployment['BundleFinding']>) =>
  Kind === 'missing'
    ? `missing since ${Since}: a rollout writes it anew`
    : `scheduled for deletion since ${Since}${DeletableFrom ? `, gone from ${DeletableFrom} on` : ''}: register it again to restore it`;

const nodeColumns = (now: Date): Column<Node>[] => [
  { title: 'SERVER', text: ({ NodeId }) => NodeId },
  {
    title: 'ROLLOUT',
    text: ({ Outcome, Step, ExitCode }) =>
      `${Outcome ?? '-'}${Step ? ` at ${Step}` : ''}${ExitCode ? ` (${ExitCode})` : ''}`,
    colour: ({ Outcome }) =>
      Outcome === 'failed' || Outcome === 'rolled-back'
        ? 'red'
        : Outcome === 'installed' || Outcome === 'unchanged'
          ? 'green'
          : 'yellow',
  },
  { title: 'SERVES UNTIL', text: ({ Serves }) => untilOf(Serves?.NotAfter, now) },
  {
    title: 'SEEN',
    text: ({ Serves }) => (Serves ? `${Serves.Seen}, ${distanceOf(Serves.SeenAt, now)}` : '-'),
  },
  {
    title: 'FINDING',
    text: ({ Finding, MissingSince }) =>
      MissingSince ? `gone since ${MissingSince}` : (Finding?.Kind ?? '-'),
    colour: ({ Finding }) => (Finding ? 'red' : undefined),
    isCut: true,
  },
];
