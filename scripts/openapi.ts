// The parts of docs/openapi.yaml that functions/domain/order.ts and the body of a registration say.
import * as z from 'zod';
import { READ_ONLY, RegistrationBody } from '../functions/deployments-api/request.ts';
import { CertificateRequestBody, REQUEST_READ_ONLY } from '../functions/deployments-api/request-body.ts';
import { DeploymentBody, InstallOptions } from '../functions/domain/order.ts';
import { type OptionSchema, schemaOf } from './parameters.ts';

interface ObjectSchema {
  properties: Record<string, OptionSchema>;
  required?: string[];
}

/** Who reads the bundle, and what is in it for them, is said of a delivery without nodes only. */
export const ONLY_WITHOUT_NODES = ['ReaderRoleArns', 'BundleFormats'];

/** A request for nodes that uses every field: that of the document and of the sample event. */
export function exampleOfAll(): Record<string, unknown> {
  const { properties } = schemaOf(DeploymentBody) as unknown as ObjectSchema;
  const fields = Object.entries(properties).filter(([name]) => !ONLY_WITHOUT_NODES.includes(name));
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
  const { properties } = schemaOf(DeploymentBody) as unknown as ObjectSchema;
  const request = schemaOf(RegistrationBody) as unknown as ObjectSchema;
  const answered = z.toJSONSchema(InstallOptions, { io: 'output' }) as unknown as ObjectSchema;
  const whole = z.toJSONSchema(DeploymentBody, { io: 'output' }) as unknown as ObjectSchema;
  const { CertName, ...fields } = properties;
  const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });
  const references = (names: string[]) => Object.fromEntries(names.map((name) => [name, reference(name)]));
  const options = Object.keys(answered.properties);
  /** As the schema of a request has them: with null, where that sets a default. */
  const asked = ({ properties: taken }: ObjectSchema, names: string[]) =>
    Object.fromEntries(
      names.map((name) => {
        const isNullable = JSON.stringify(taken[name]).includes('"null"');
        return [name, isNullable ? { anyOf: [reference(name), { type: 'null' }] } : reference(name)];
      }),
    );
  return {
    'the example': exampleOfAll(),
    fields: {
      ...Object.fromEntries(Object.entries(fields).map(([name, schema]) => [name, described(schema)])),
      DeploymentRequest: {
        type: 'object',
        description: REQUEST,
        required: request.required,
        additionalProperties: false,
        properties: {
          CertName: described(CertName as OptionSchema),
          ...asked(request, Object.keys(fields)),
          DeploymentId: {
            description: 'If given, that of this name and target.',
            ...reference('DeploymentId'),
          },
          Options: {
            type: 'object',
            deprecated: true,
            description: 'If given, the same as the order says after the request.',
            additionalProperties: false,
            properties: asked(request.properties.Options as unknown as ObjectSchema, options),
          },
          ...Object.fromEntries(READ_ONLY.map((name) => [name, { description: 'Ignored: only read.' }])),
        },
        ...READERS,
      },
      Order: {
        type: 'object',
        required: ['CertName', ...(whole.required ?? []), 'TargetAccount', 'TargetRegion'].filter(
          (name) => name !== 'DryRun',
        ),
        properties: references(['CertName', ...Object.keys(fields).filter((name) => name !== 'DryRun')]),
      },
      Options: {
        type: 'object',
        deprecated: true,
        description: 'What the order says at the top level, for clients of the first edition.',
        required: answered.required,
        properties: references(options),
      },
    },
    'certificate requests': certificateRequests(asked),
  };
}

/** The body of POST /certificates/{CertName}. @param asked references to the fields of a deployment that may be asked for. */
function certificateRequests(
  asked: (taken: ObjectSchema, names: string[]) => Record<string, object>,
): Record<string, unknown> {
  const { properties, required } = schemaOf(CertificateRequestBody) as unknown as ObjectSchema;
  const { CertName: _, Deployments, ...fields } = properties;
  const deployment = Deployments?.items as unknown as ObjectSchema;
  const { DeploymentId: __, ...askedFields } = deployment.properties;
  const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });
  const isReadOnly = new Set<string>(REQUEST_READ_ONLY);
  const own = Object.entries(fields).filter(([name]) => !isReadOnly.has(name));
  return {
    RequestedDeployment: {
      type: 'object',
      description:
        'As the body of POST …/deployments, without CertificateArn and DryRun. What is left out is decided when it is registered.',
      required: deployment.required,
      additionalProperties: false,
      properties: {
        ...asked(deployment, Object.keys(askedFields)),
        DeploymentId: {
          description: 'If given, that of this name and target.',
          ...reference('DeploymentId'),
        },
      },
    },
    CertificateRequest: {
      type: 'object',
      description: 'What GET answers is taken: what is only read is ignored.',
      required,
      additionalProperties: false,
      properties: {
        CertName: { description: 'The same name as in the path, if you give it.', ...reference('CertName') },
        ...Object.fromEntries(own),
        Deployments: { ...Deployments, items: reference('RequestedDeployment') },
        ...Object.fromEntries(
          REQUEST_READ_ONLY.map((name) => [name, { description: 'Ignored: only read.' }]),
        ),
      },
    },
  };
}

const REQUEST =
  'A deployment that is registered keeps what is left out; null sets the default. A new one, or one that was only tried, ' +
  'begins with the defaults and needs a CertificateArn; with Delivery secret also ReaderRoleArns. What GET answers is taken: what is only read is ignored.';

/** A deployment that is registered has readers already, so that a request need not name them. */
const READERS = {
  if: { properties: { Delivery: { const: 'secret' } }, required: ['Delivery'] },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { properties: { ReaderRoleArns: { type: 'array', minItems: 1 } } },
  else: {
    if: { properties: { Delivery: { const: 'nodes' } }, required: ['Delivery'] },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: {
      properties: Object.fromEntries(
        ONLY_WITHOUT_NODES.map((name) => [name, { type: ['array', 'null'], maxItems: 0 }]),
      ),
    },
  },
};

/** With its default in words: as a keyword it would make generated clients send it, which changes a deployment. */
function described({ without, description, type, default: standard, ...schema }: OptionSchema): OptionSchema {
  const value = standard === undefined ? without : JSON.stringify(standard);
  const more = value === undefined ? '' : ` Default: ${value}.`;
  return { ...(type ? { type } : {}), description: `${description}${more}`.replaceAll('`', ''), ...schema };
}
