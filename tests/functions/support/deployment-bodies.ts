import fc from 'fast-check';
import type * as z from 'zod';
import { DeploymentBody } from '../../../functions/domain/order.ts';
import { type OptionSchema, schemaOf } from '../../../scripts/parameters.ts';

/** Values that a field's schema takes. */
function valuesOf({
  type,
  enum: values,
  pattern,
  not,
  minimum,
  maximum,
  maxItems,
  items,
}: OptionSchema): fc.Arbitrary<unknown> {
  if (values) return fc.constantFrom(...values);
  if (type === 'boolean') return fc.boolean();
  if (type === 'integer') return fc.integer({ min: minimum ?? 0, max: maximum ?? 0 });
  if (type === 'array' && items) return fc.uniqueArray(valuesOf(items), { maxLength: maxItems ?? 1 });
  const refused = not ? new RegExp(not.pattern) : /$^/;
  return fc.stringMatching(new RegExp(pattern as string)).filter((text) => !refused.test(text));
}

/** Bodies of POST …/deployments for nodes that the schema takes. */
export function deploymentBodies(certificateArn: string): fc.Arbitrary<z.input<typeof DeploymentBody>> {
  const { properties } = schemaOf(DeploymentBody) as { properties: Record<string, OptionSchema> };
  const { CertName: _, Delivery: __, ReaderRoleArns: ___, BundleFormats: ____, ...fields } = properties;
  const values: Record<string, fc.Arbitrary<unknown>> = {
    ...Object.fromEntries(Object.entries(fields).map(([name, schema]) => [name, valuesOf(schema)])),
    CertificateArn: fc.constant(certificateArn),
    TargetAccount: fc.constantFrom('111122223333', '444455556666'),
    TargetRegion: fc.constantFrom('eu-central-1', 'us-gov-west-1', 'ap-southeast-4'),
  };
  const bodies = fc.record(values, { requiredKeys: ['CertificateArn', 'TargetTagKey', 'TargetTagValue'] });
  return bodies.filter((body) => DeploymentBody.safeParse(body).success) as fc.Arbitrary<
    z.input<typeof DeploymentBody>
  >;
}
