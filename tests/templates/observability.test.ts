import { describe, expect, test } from '@jest/globals';
import { METRICS } from '../../functions/runtime/observability.ts';
import { centralStack, resourceOf, resourcesOf } from './stacks.ts';

/** What AWS publishes, by namespace, with the dimensions that the metrics come with (each service's guide). */
const OF_AWS: Record<string, { dimensions: string[]; metrics: string[] }> = {
  'AWS/States': {
    dimensions: ['StateMachineArn'],
    metrics: [
      'ExecutionsStarted',
      'ExecutionsSucceeded',
      'ExecutionsFailed',
      'ExecutionsTimedOut',
      'ExecutionsAborted',
      'ExecutionThrottled',
      'ExecutionTime',
    ],
  },
  'AWS/Lambda': {
    dimensions: ['FunctionName'],
    metrics: ['Invocations', 'Errors', 'Throttles', 'Duration', 'ConcurrentExecutions', 'DeadLetterErrors'],
  },
  'AWS/SQS': {
    dimensions: ['QueueName'],
    metrics: ['NumberOfMessagesSent', 'ApproximateNumberOfMessagesVisible', 'ApproximateAgeOfOldestMessage'],
  },
  'AWS/ApiGateway': {
    dimensions: ['ApiName', 'Stage'],
    metrics: ['Count', '4XXError', '5XXError', 'Latency', 'IntegrationLatency'],
  },
};

interface Metric {
  shownBy: string;
  namespace: string;
  name: string;
  dimensions: Record<string, string>;
}

const stack = centralStack();
const alarms = resourcesOf(stack, 'AWS::CloudWatch::Alarm');
const body = JSON.parse(resourceOf(stack, 'OperationsDashboard').properties.DashboardBody);

/** `[namespace, name, dimension, value, …, options]` of a widget. */
function metricOf(title: string, [namespace, name, ...rest]: (string | object)[]): Metric {
  const texts = rest.filter((part) => typeof part === 'string');
  const pairs = texts.flatMap((text, index) => (index % 2 === 0 ? [[text, texts[index + 1]]] : []));
  return {
    shownBy: title,
    namespace: String(namespace),
    name: String(name),
    dimensions: Object.fromEntries(pairs),
  };
}

type Dimension = { Name: string; Value: string };
const dimensionsOf = (list: Dimension[]) => Object.fromEntries(list.map(({ Name, Value }) => [Name, Value]));

const widgets = body.widgets.filter(({ type }: { type: string }) => type === 'metric');
const shown: Metric[] = [
  ...widgets.flatMap(({ properties }: { properties: { title: string; metrics: (string | object)[][] } }) =>
    properties.metrics.map((metric) => metricOf(properties.title, metric)),
  ),
  ...alarms.flatMap(([id, { properties }]) => {
    const single = properties.Namespace ? [properties] : [];
    const inMath = (properties.Metrics ?? []).flatMap(
      (entry: { MetricStat?: { Metric: object } }) => entry.MetricStat?.Metric ?? [],
    );
    return [...single, ...inMath].map((metric) => ({
      shownBy: id,
      namespace: metric.Namespace,
      name: metric.MetricName,
      dimensions: dimensionsOf(metric.Dimensions),
    }));
  }),
];

test.each(shown)('$shownBy shows $namespace $name, which is published', (metric) => {
  const { namespace, name, dimensions } = metric;
  const ofAws = OF_AWS[namespace];
  if (ofAws) {
    expect(ofAws.metrics).toContain(name);
    expect(Object.keys(dimensions)).toEqual(ofAws.dimensions);
    return;
  }
  const functions = resourcesOf(stack, 'AWS::Serverless::Function').map(([, { properties }]) => properties);
  const emitter = functions.find(
    ({ Environment }) => Environment.Variables.POWERTOOLS_SERVICE_NAME === dimensions.service,
  );
  expect(emitter?.Environment.Variables.POWERTOOLS_METRICS_NAMESPACE).toBe(namespace);
  expect(Object.keys(dimensions)).toEqual(['service']);
  expect(METRICS[dimensions.service as keyof typeof METRICS]).toContain(name);
});

test.each(shown)('$shownBy shows $name of something that is in the stack', ({ dimensions }) => {
  const physical = [...stack.resources.values()].flatMap(({ physicalId, attributes, properties }) => [
    physicalId,
    attributes.QueueName,
    properties.Name,
    properties.StageName,
    properties.Environment?.Variables.POWERTOOLS_SERVICE_NAME,
  ]);
  expect(physical).toEqual(expect.arrayContaining(Object.values(dimensions)));
});

describe('the dashboard', () => {
  test('shows every alarm', () => {
    const [widget] = body.widgets.filter(({ type }: { type: string }) => type === 'alarm');
    expect(widget.properties.alarms.sort()).toEqual(alarms.map(([, alarm]) => alarm.arn).sort());
  });

  test('shows every function, and each metric of a function that counts something', () => {
    const seen = new Set(shown.map(({ name, dimensions }) => `${name} ${dimensions.FunctionName ?? ''}`));
    for (const [, { properties }] of resourcesOf(stack, 'AWS::Serverless::Function')) {
      expect(seen).toContain(`Errors ${properties.FunctionName}`);
    }
    const counted = Object.values(METRICS).flatMap((names) => names.map((name) => `${name} `));
    expect([...seen]).toEqual(expect.arrayContaining(counted));
  });

  test('lays no widget over another', () => {
    const cells = body.widgets.flatMap(
      ({ x, y, width, height }: { x: number; y: number; width: number; height: number }) =>
        Array.from({ length: width * height }, (_, i) => `${x + (i % width)},${y + Math.floor(i / width)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    // CloudWatch's grid has 24 columns.
    expect(Math.max(...cells.map((cell: string) => Number(cell.split(',')[0])))).toBeLessThan(24);
  });
});

test.each(alarms)('%s tells when it is over, too', (_id, { properties }) => {
  expect(properties.OKActions).toEqual(properties.AlarmActions);
  expect(properties.AlarmDescription).toMatch(/^[A-Z].{20,}\.$/);
});
