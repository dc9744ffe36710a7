import '../../local/quiet.ts';

const { FLOWS } = await import('./flows.ts');
const { play, deniedForGood } = await import('./play.ts');
const r = await play(
  FLOWS['ACM renews the certificate'] as never,
  deniedForGood({ operation: 'DynamoDB_20120810.Query', source: 'function acm-export-handle-renewal' }),
  (w) => {
    (globalThis as any).w = w;
  },
);
const w = (globalThis as any).w;
console.log(r, new Date(r.deniedAt as number));
for (const id of ['UndeliveredEventsQueue', 'FailedEventsQueue']) console.log(id, w.cloud.services.sqs);
const { CENTRAL: C } = await import('./world.ts');
console.log(
  'MESSAGES',
  w.cloud.services.sqs.messages(`arn:aws:sqs:eu-central-1:${C}:acm-export-failed-events`).length,
  r.rings,
);
for (const c of w.cloud.record.calls.filter(
  (c: any) =>
    /handle-renewal|SendMessage/.test(c.source + c.operation) ||
    (/lambda.Invoke/.test(c.operation) && /events/.test(c.source)),
))
  console.log(
    c.at,
    c.source,
    c.operation,
    c.status,
    c.error,
    c.operation.includes('Send') ? JSON.stringify(c.input).slice(0, 200) : '',
  );
