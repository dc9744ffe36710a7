// docs/deployments.schema.json: what a file for `acm-export apply` may say, for editors and other checkers.
import * as z from 'zod';
import { certName, DeploymentBody } from '../functions/domain/order.ts';

interface FieldSchema {
  description?: string;
  without?: string;
  default?: unknown;
}

const REQUIRED = ['CertName', 'CertificateArn', 'TargetTagKey', 'TargetTagValue'];

/** JSON Schema in the draft that editors know. */
export function fileSchema(): string {
  const body = z.toJSONSchema(DeploymentBody, { io: 'input', target: 'draft-7' }) as {
    properties: Record<string, FieldSchema>;
  };
  const name = z.toJSONSchema(certName, { io: 'input', target: 'draft-7' }) as FieldSchema & {
    $schema?: string;
  };
  const { $schema: _, ...ofName } = name;
  // A file says what is to be there: a dry run is no such thing.
  const { CertName: __, DryRun: ___, ...fields } = body.properties;
  const CertName = {
    description: 'Name under which the certificate is delivered. Its own tag CertName must allow it.',
    ...ofName,
  };
  const properties = Object.fromEntries(
    Object.entries({ CertName, ...fields, CertificateArn: ofFile(fields.CertificateArn) }).map(
      ([field, schema]) => [field, described(schema)],
    ),
  );
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Deployments of acm-export',
    description:
      'The file of acm-export plan, apply and export. Written by make render from functions/domain/order.ts.',
    type: 'object',
    required: ['Deployments'],
    additionalProperties: false,
    properties: {
      Deployments: {
        type: 'array',
        description: 'Each entry is a whole order: what it leaves out has its default.',
        items: { type: 'object', required: REQUIRED, additionalProperties: false, properties },
      },
    },
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

/** A file leaves nothing as it was. */
const ofFile = (arn: FieldSchema | undefined): FieldSchema => ({
  ...arn,
  description: "An exportable certificate of ACM, of the stack's own account and Region.",
});

function described({ without, description = '', ...schema }: FieldSchema): FieldSchema {
  return {
    description: `${description}${without === undefined ? '' : ` Default: ${without}.`}`.replaceAll('`', ''),
    ...schema,
  };
}
