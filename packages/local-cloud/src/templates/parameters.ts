import { NotModelled } from '../iam/not-modelled.ts';
import { TemplateError } from './template-error.ts';

export type ParameterValue = string | number | string[];

interface Declaration {
  Type: string;
  Default?: string | number;
  AllowedValues?: (string | number)[];
  AllowedPattern?: string;
  ConstraintDescription?: string;
  MinLength?: number;
  MaxLength?: number;
  MinValue?: number;
  MaxValue?: number;
}

const declarationKeys = new Set([
  'Type',
  'Default',
  'AllowedValues',
  'AllowedPattern',
  'ConstraintDescription',
  'MinLength',
  'MaxLength',
  'MinValue',
  'MaxValue',
  'NoEcho',
  'Description',
]);

/** Applies defaults and checks values as CloudFormation does. All faults are reported at once. */
export function resolveParameters(
  declared: Record<string, Declaration>,
  given: Record<string, string | number>,
): Record<string, ParameterValue> {
  const faults = Object.keys(given)
    .filter((name) => !(name in declared))
    .map((name) => `${name} is not a parameter of the template`);
  const values: Record<string, ParameterValue> = {};
  for (const [name, declaration] of Object.entries(declared)) {
    const unknown = Object.keys(declaration).find((key) => !declarationKeys.has(key));
    if (unknown) throw new NotModelled(`parameter ${name}: ${unknown}`);
    const raw = given[name] ?? declaration.Default;
    if (raw === undefined) {
      faults.push(`${name} needs a value`);
      continue;
    }
    const { Type } = declaration;
    if (Type !== 'String' && Type !== 'Number' && Type !== 'CommaDelimitedList') {
      throw new NotModelled(`parameter ${name} of type ${Type}`);
    }
    const parts =
      Type === 'CommaDelimitedList'
        ? String(raw)
            .split(',')
            .map((part) => part.trim())
        : [String(raw)];
    for (const part of parts) {
      const fault = faultOf(declaration, part);
      if (fault) faults.push(`${name} = '${part}' ${declaration.ConstraintDescription ?? fault}`);
    }
    values[name] = Type === 'CommaDelimitedList' ? parts : Type === 'Number' ? Number(raw) : String(raw);
  }
  if (faults.length > 0) throw new TemplateError(`parameters: ${faults.join('; ')}`);
  return values;
}

function faultOf(declaration: Declaration, value: string): string | undefined {
  const { AllowedPattern, AllowedValues, MinLength, MaxLength, MinValue, MaxValue } = declaration;
  if (declaration.Type === 'Number' && (value.trim() === '' || Number.isNaN(Number(value))))
    return 'is not a number';
  // The pattern is a Java expression for the whole value.
  if (AllowedPattern !== undefined && !new RegExp(`^(?:${AllowedPattern})$`, 's').test(value)) {
    return `does not match ${AllowedPattern}`;
  }
  if (AllowedValues && !AllowedValues.map(String).includes(value))
    return `is not one of ${AllowedValues.join(', ')}`;
  if (MinLength !== undefined && value.length < Number(MinLength)) return `is shorter than ${MinLength}`;
  if (MaxLength !== undefined && value.length > Number(MaxLength)) return `is longer than ${MaxLength}`;
  if (MinValue !== undefined && Number(value) < Number(MinValue)) return `is less than ${MinValue}`;
  if (MaxValue !== undefined && Number(value) > Number(MaxValue)) return `is more than ${MaxValue}`;
  return undefined;
}
