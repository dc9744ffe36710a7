import { expect, test } from '@jest/globals';
import type { Deployed } from 'local-cloud/templates';
import { AlarmWatch } from './alarms.ts';

const START = Date.parse('2026-11-24T10:00:00Z');
const MINUTE = 60_000;

/** Minutes at which an alarm on a metric goes on and off; a sample is `[minute, value]`. */
function rings(properties: object, samples: [number, number][], minutes = 60): (number | undefined)[] {
  const alarm = {
    AlarmName: 'one',
    Namespace: 'ours',
    MetricName: 'Faults',
    Dimensions: [{ Name: 'service', Value: 'reconcile' }],
    Statistic: 'Sum',
    Period: 300,
    EvaluationPeriods: 1,
    Threshold: 0,
    ComparisonOperator: 'GreaterThanThreshold',
    TreatMissingData: 'notBreaching',
    ...properties,
  };
  const resources = new Map([['Alarm', { type: 'AWS::CloudWatch::Alarm', properties: alarm }]]);
  const watch = new AlarmWatch({ resources } as unknown as Deployed, new Date(START));
  const sample = { namespace: 'ours', name: 'Faults', dimensions: { service: 'reconcile' } };
  for (const [minute, value] of samples) watch.add({ ...sample, at: START + minute * MINUTE, value });
  watch.add({ ...sample, dimensions: { service: 'another' }, at: START, value: 99 });
  const minuteOf = (at: number | undefined) => at && (at - START) / MINUTE;
  return watch
    .rings(new Date(START + minutes * MINUTE))
    .flatMap(({ at, over }) => [minuteOf(at), minuteOf(over)]);
}

const MISSING = { Statistic: 'SampleCount', Threshold: 1, ComparisonOperator: 'LessThanThreshold' };

test.each<[string, object, [number, number][], (number | undefined)[]]>([
  ['at the end of the period, and off after one without', {}, [[6, 1]], [10, 15]],
  ['never for what stays within the threshold', { Threshold: 1 }, [[6, 1]], []],
  [
    'for the sum of a period',
    { Threshold: 1 },
    [
      [6, 1],
      [7, 1],
    ],
    [10, 15],
  ],
  [
    'for the greatest of a period',
    { Statistic: 'Maximum', Threshold: 1 },
    [
      [6, 1],
      [7, 1],
    ],
    [],
  ],
  [
    'only for all periods that it looks back on',
    { EvaluationPeriods: 2 },
    [
      [1, 1],
      [11, 1],
      [16, 1],
    ],
    [20, 25],
  ],
  [
    'for some of them',
    { EvaluationPeriods: 3, DatapointsToAlarm: 2 },
    [
      [1, 1],
      [11, 1],
    ],
    [15, 20],
  ],
  [
    'for one of them, until it is out of sight',
    { EvaluationPeriods: 6, DatapointsToAlarm: 1 },
    [[1, 1]],
    [5, 35],
  ],
  [
    'for what is missing',
    { ...MISSING, TreatMissingData: 'breaching' },
    [
      [1, 0],
      [11, 0],
    ],
    [10, 15, 20, undefined],
  ],
  [
    'and keeps its state where missing data are ignored',
    { TreatMissingData: 'ignore' },
    [
      [6, 1],
      [31, 0],
    ],
    [10, 35],
  ],
])('an alarm goes on %s', (_when, properties, samples, expected) => {
  expect(rings(properties, samples)).toEqual(expected);
});
