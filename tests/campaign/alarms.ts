import type { Deployed } from 'local-cloud/templates';

/** A value of a metric. */
export interface Sample {
  namespace: string;
  name: string;
  dimensions: Record<string, string>;
  /** Milliseconds since 1970. */
  at: number;
  value: number;
}

/** An alarm that went off. */
export interface Ring {
  alarm: string;
  at: number;
  /** Absent while it is still in alarm. */
  over?: number;
}

interface Alarm {
  AlarmName: string;
  Namespace: string;
  MetricName: string;
  Dimensions?: { Name: string; Value: string }[];
  Statistic: keyof typeof STATISTICS;
  Period: number;
  EvaluationPeriods: number;
  DatapointsToAlarm?: number;
  Threshold: number;
  ComparisonOperator: keyof typeof COMPARISONS;
  TreatMissingData: 'breaching' | 'notBreaching' | 'ignore';
}

const STATISTICS = {
  Maximum: (values: number[]) => Math.max(...values),
  Sum: (values: number[]) => values.reduce((sum, value) => sum + value, 0),
  SampleCount: (values: number[]) => values.length,
};

const COMPARISONS = {
  GreaterThanThreshold: (value: number, threshold: number) => value > threshold,
  LessThanThreshold: (value: number, threshold: number) => value < threshold,
};

/**
 * The alarms of a stack, over the metrics that it is given. An alarm looks back over whole periods; where all of them are
 * missing, TreatMissingData decides (CloudWatch user guide, "Evaluating an alarm", "Configuring how alarms treat missing
 * data"). One metric an alarm.
 */
export class AlarmWatch {
  readonly #alarms: Alarm[];
  readonly #start: number;
  readonly #samples: Sample[] = [];

  /** @param start from when there are metrics: no period before it counts. */
  constructor(stack: Deployed, start: Date) {
    this.#alarms = [...stack.resources.values()]
      .filter(({ type }) => type === 'AWS::CloudWatch::Alarm')
      .map(({ properties }) => properties as Alarm);
    this.#start = start.getTime();
  }

  add(sample: Sample): void {
    this.#samples.push(sample);
  }

  /** @param until whole periods up to here are looked at. */
  rings(until: Date): Ring[] {
    return this.#alarms.flatMap((alarm) => this.#ringsOf(alarm, until.getTime()));
  }

  #ringsOf(alarm: Alarm, until: number): Ring[] {
    const { AlarmName, EvaluationPeriods, Threshold, TreatMissingData } = alarm;
    const { DatapointsToAlarm = EvaluationPeriods } = alarm;
    const periodMs = alarm.Period * 1000;
    const first = Math.ceil(this.#start / periodMs);
    const values = this.#valuesByPeriod(alarm, periodMs);
    const breaches = (period: number): boolean | undefined => {
      const found = values.get(period);
      if (found) {
        const value = STATISTICS[alarm.Statistic](found);
        return COMPARISONS[alarm.ComparisonOperator](value, Threshold);
      }
      return TreatMissingData === 'ignore' ? undefined : TreatMissingData === 'breaching';
    };
    const rings: Ring[] = [];
    let open: Ring | undefined;
    for (let period = first; (period + 1) * periodMs <= until; period += 1) {
      const periods = Array.from({ length: EvaluationPeriods }, (_, back) => period - back);
      const looked = periods.filter((one) => one >= first).map(breaches);
      const known = looked.filter((breach) => breach !== undefined);
      if (known.length === 0) continue; // Keeps its state.
      const isBreached = known.filter(Boolean).length >= DatapointsToAlarm;
      const at = (period + 1) * periodMs;
      if (isBreached && !open) {
        open = { alarm: AlarmName, at };
        rings.push(open);
      } else if (!isBreached && open) {
        open.over = at;
        open = undefined;
      }
    }
    return rings;
  }

  #valuesByPeriod({ Namespace, MetricName, Dimensions = [] }: Alarm, periodMs: number) {
    const values = new Map<number, number[]>();
    for (const { namespace, name, dimensions, at, value } of this.#samples) {
      if (namespace !== Namespace || name !== MetricName) continue;
      if (!Dimensions.every(({ Name, Value }) => dimensions[Name] === Value)) continue;
      const period = Math.floor(at / periodMs);
      values.set(period, [...(values.get(period) ?? []), value]);
    }
    return values;
  }
}
