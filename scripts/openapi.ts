// The parts of docs/openapi.yaml that functions/domain/order.ts says.
import * as z from 'zod';
import { DeploymentBody, InstallOptions } from '../functions/domain/order.ts';
import { type OptionSchema, schemaOf } from './parameters.ts';

interface ObjectSchema {
  properties: Record<string, OptionSchema>;
  required?: string[];
}

/** Fields of a request that are no part of the order: an answer has them not, or in a form of its own. */
const ONLY_ASKED = ['CertName', 'DryRun'];

/** Who reads the bundle is said of a delivery without nodes only. */
const ONLY_WITHOUT_NODES = 'ReaderRoleArns';

/** A request for nodes that uses every field: that of the document and of the sample event. */
export function exampleOfAll(): Record<string, unknown> {
  const { properties } = schemaOf(DeploymentBody) as unknown as ObjectSchema;
  const fields = Object.entries(properties).filter(([name]) => name !== ONLY_WITHOUT_NODES);
  return Object.fromEntries(
    fields.map(([name, { examples = [] }]) => {
      if (examples.length === 0) {
        throw new Error(`${name} has no example`);
      }
      return [name, examples[0]];
    }),
  );
}

/** The blocks of the document, by the names of their marks. */
export function openApiBlocks(): Record<string, unknown> {
  const { properties, required } = schemaOf(DeploymentBody) as unknown as ObjectSchema;
  const answered = z.toJSONSchema(InstallOptions, { io: 'output' }) as unknown as ObjectSchema;
  const isOption = (name: string) => name in answered.properties;
  const { CertName, ...fields } = properties;
  const references = (names: string[]) =>
    Object.fromEntries(names.map((name) => [name, { $ref: `#/components/schemas/${name}` }]));
  const names = Object.keys(fields);
  return {
    'the example': exampleOfAll(),
    fields: {
      ...Object.fromEntries(Object.entries(fields).map(([name, schema]) => [name, described(schema)])),
      DeploymentRequest: {
        type: 'object',
        required,
        additionalProperties: false,
        properties: { CertName: described(CertName as OptionSchema), ...references(names) },
      },
      Options: {
        type: 'object',
        required: answered.required,
        properties: references(names.filter(isOption)),
      },
    },
    'the order': references(names.filter((name) => !isOption(name) && !ONLY_ASKED.includes(name))),
  };
}

/** With what holds where the field is left out. */
function described({ without, description, type, ...schema }: OptionSchema): OptionSchema {
  const more = without === undefined ? '' : ` Without it: ${without}.`;
  return { ...(type ? { type } : {}), description: `${description}${more}`.replaceAll('`', ''), ...schema };
}
