import { NotModelled } from '../iam/not-modelled.ts';
import { ServiceError } from './service.ts';

/** A value as on the wire: one member, named for its type. */
export interface AttributeValue {
  readonly S?: string;
  readonly N?: string;
  readonly BOOL?: boolean;
  readonly NULL?: boolean;
  readonly SS?: readonly string[];
  readonly NS?: readonly string[];
  readonly L?: readonly AttributeValue[];
  readonly M?: Item;
}
export type Item = Readonly<Record<string, AttributeValue>>;
export type ValueType = keyof AttributeValue;

/** Throws ValidationException. */
export function refuse(message: string): never {
  throw new ServiceError('ValidationException', message);
}

/** The type of a value that was checked. */
export function typeOf(value: AttributeValue): ValueType {
  for (const type in value) return type as ValueType;
  throw new Error('an attribute value without a type');
}

/** An attribute, never what objects inherit. */
export function member(of: Item, name: string): AttributeValue | undefined {
  return Object.hasOwn(of, name) ? of[name] : undefined;
}

/** Developer guide, "Quotas": levels of lists and maps. */
const NESTING_LEVELS = 32;

/**
 * A copy of an item, a key or values, with numbers in DynamoDB's form. Throws ValidationException where DynamoDB's
 * model of a request does not say already that it refuses.
 */
export function checkedItem(item: Item, depth = 0): Item {
  const copy: Record<string, AttributeValue> = {};
  for (const name of Object.keys(item)) {
    refuseProto(name);
    copy[name] = checked(item[name] as AttributeValue, depth);
  }
  return copy;
}

/** An assignment to this name would change the prototype instead of adding an attribute. */
export function refuseProto(name: string): void {
  if (name === '__proto__') throw new NotModelled('an attribute named __proto__');
}

function checked(value: AttributeValue, depth: number): AttributeValue {
  const types = Object.keys(value).filter((one) => value[one as ValueType] != null) as ValueType[];
  const [type] = types;
  if (!type || types.length > 1) refuse('Supplied AttributeValue must contain exactly one of the datatypes');
  if (depth > NESTING_LEVELS) refuse('Nesting Levels have exceeded supported limits');
  if (type.startsWith('B') && type !== 'BOOL') throw new NotModelled('binary values');
  const { N, SS, NS, L, M } = value;
  if (N != null) return { N: plainNumber(N) };
  if (L) return { L: L.map((element) => checked(element, depth + 1)) };
  if (M) return { M: checkedItem(M, depth + 1) };
  if (type === 'NULL' && !value.NULL) refuse('Null attribute value types must have the value of true');
  const elements = NS?.map(plainNumber) ?? SS;
  if (!elements) return { [type]: value[type] };
  if (elements.length > 0 && new Set(elements).size === elements.length) return { [type]: elements };
  return refuse('A set must not be empty, nor contain duplicates');
}

/* --- numbers --------------------------------------------------------------------------------------------- */

/** Developer guide, "Supported data types": digits of a number, and magnitudes from 1E-130 to 9.99…E+125. */
const DIGITS = 38;
const LARGEST_EXPONENT = 125;
const SMALLEST_EXPONENT = -130;
/** As many digits as a double always keeps. */
const EXACT_DIGITS = 15;

/** ±d.ddd · 10^exponent; digits have no zeros at either end, and zero has no digits. */
interface Decimal {
  negative: boolean;
  digits: string;
  exponent: number;
}

function decimal(number: string): Decimal {
  const parts = /^(-?)(?=\.?\d)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$/.exec(number);
  if (!parts) refuse(`The parameter cannot be converted to a numeric value: ${number}`);
  const [, sign, whole = '', fraction = '', power = '0'] = parts;
  const all = whole + fraction;
  const digits = all.replace(/^0+/, '');
  const exponent = Number(power) + whole.length - 1 - (all.length - digits.length);
  return { negative: sign === '-' && digits !== '', digits: digits.replace(/0+$/, ''), exponent };
}

function plainNumber(number: string): string {
  // Most numbers are small integers, which are plain already.
  if (/^(?:0|-?[1-9]\d{0,37})$/.test(number)) return number;
  const { negative, digits, exponent } = decimal(number);
  if (digits === '') return '0';
  if (exponent > LARGEST_EXPONENT || exponent < SMALLEST_EXPONENT || digits.length > DIGITS) {
    refuse('Attempting to store a number with a magnitude or digits beyond the supported range');
  }
  const sign = negative ? '-' : '';
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const fraction = digits.slice(exponent + 1);
  return `${sign}${digits.slice(0, exponent + 1).padEnd(exponent + 1, '0')}${fraction && `.${fraction}`}`;
}

/** The sum of two numbers, or their difference. Throws ValidationException where DynamoDB cannot store it. */
export function sum(left: string, right: string, subtract = false): string {
  const [a, b] = [decimal(left), decimal(right)];
  const scale = Math.min(a.exponent - a.digits.length, b.exponent - b.digits.length);
  const scaled = ({ negative, digits, exponent }: Decimal) =>
    BigInt(`${negative ? '-' : ''}${digits || '0'}`) *
    10n ** BigInt(digits && exponent - digits.length - scale);
  return plainNumber(`${subtract ? scaled(a) - scaled(b) : scaled(a) + scaled(b)}e${scale + 1}`);
}

/* --- order, equality, size ------------------------------------------------------------------------------- */

/**
 * A text whose order by code units is DynamoDB's order of strings (bytes of UTF-8) and of numbers. Values
 * of two types have no order.
 */
export function orderKey({ S, N = '' }: AttributeValue): string {
  if (S !== undefined) {
    // UTF-16 puts surrogates before U+E000 to U+FFFF, UTF-8 puts what they encode behind.
    return S.replace(/[\ud800-\uffff]/g, (unit) => {
      const code = unit.charCodeAt(0);
      return String.fromCharCode(code < 0xe000 ? code + 0x2000 : code - 0x800);
    });
  }
  const { negative, digits, exponent } = decimal(N);
  if (digits === '') return '1';
  // Three digits, positive for every exponent; nines' complement turns the order round.
  const positive = `${exponent + 200}`.padStart(3, '0') + digits;
  return negative ? `0${positive.replace(/\d/g, (digit) => `${9 - Number(digit)}`)}~` : `2${positive}`;
}

/** Developer guide, "Comparison operator reference": types that have an order. */
export const ORDERED: ValueType[] = ['S', 'N'];

/** Below zero, zero or above; not a number where the two have no order. */
export function compare(left: AttributeValue | undefined, right: AttributeValue | undefined): number {
  if (!left || !right) return Number.NaN;
  const type = typeOf(left);
  if (type !== typeOf(right) || !ORDERED.includes(type)) return Number.NaN;
  const [a, b] = [left[type], right[type]] as [string, string];
  if (type === 'N' && a.length <= EXACT_DIGITS && b.length <= EXACT_DIGITS) return Number(a) - Number(b);
  const [first, second] = [orderKey(left), orderKey(right)];
  return first < second ? -1 : Number(first > second);
}

/** Equality of any two values, lists and maps included. A missing value equals nothing, not even another one. */
export function equal(left: AttributeValue | undefined, right: AttributeValue | undefined): boolean {
  if (!left || !right) return false;
  const type = typeOf(left);
  const [a, b] = [left[type], right[type]];
  if (b === undefined || typeof a !== 'object') return a === b;
  if (Object.keys(a).length !== Object.keys(b).length) return false;
  if (left.L) return left.L.every((one, at) => equal(one, right.L?.[at]));
  if (left.M) return Object.entries(left.M).every(([name, one]) => equal(one, member(right.M as Item, name)));
  return (a as string[]).every((element) => (b as string[]).includes(element));
}

/**
 * Bytes of an item: names and values (developer guide, "DynamoDB item sizes and formats"). Numbers are counted
 * approximately there as well: a byte for two significant digits, and one more.
 */
export function itemSize(item: Item): number {
  let size = 0;
  for (const name in item) size += Buffer.byteLength(name) + valueSize(item[name] as AttributeValue);
  return size;
}

/** Bytes of a value; 0 of an empty text. */
export function valueSize({ S, N, SS, NS, L, M }: AttributeValue): number {
  if (S !== undefined) return Buffer.byteLength(S);
  if (N !== undefined) return Math.ceil(N.replace(/^-?0?\.?0*|\.|0+$/g, '').length / 2) + 1;
  // Lists and maps cost 3 bytes, and each of their elements 1.
  if (M) return 3 + Object.keys(M).length + itemSize(M);
  if (L) return L.reduce((size, element) => size + 1 + valueSize(element), 3);
  const elements = SS?.map((S) => ({ S })) ?? NS?.map((N) => ({ N }));
  return elements?.reduce((size, element) => size + valueSize(element), 0) ?? 1;
}
