import * as z from 'zod';
import { PATTERNS, whole } from './patterns.ts';

// What a deployment may say. This file is the one source: types and the checks of requests follow from it by zod;
// `make render` writes from it the schemas of docs/openapi.yaml, the table of docs/guide.md, the parameters of the SSM
// documents and what the install script makes of them. A new option is a line of INSTALL_OPTIONS, with an example, and its behaviour in
// ssm-documents/install-certificate/. The bounds are those of the services behind: ACM, SSM, systemd, useradd(8).
//
// Functions other than deployments-api and provide-deployment import types alone: zod takes time to load.

/** What a form would take, and must not. */
interface Never {
  form: string;
  says: string;
}

const NO_TWO_DOTS = { form: '.*[.][.].*', says: 'no two dots together' };
const NO_SPACE_AT_AN_END = { form: '( .*|.* )', says: 'no space at either end' };
const NO_KEY_OF_AWS = { form: '[aA][wW][sS]:.*', says: 'aws: tag keys are reserved by AWS' };
// Neither does useradd take these; chgrp would read digits as a group id.
const NO_NUMBER_AND_NO_DOTS = { form: '([0-9]+|[.][.]?)', says: 'not only digits, and not . or ..' };

const oneOf = (forms: string[]) => (forms.length === 1 ? forms[0] : `(${forms.join('|')})`);

function text(form: string, says: string, ...nevers: Never[]) {
  const schema = nevers.reduce(
    (checked, never) => checked.refine((value) => !whole(never.form).test(value), never.says),
    z.string().regex(whole(form), says),
  );
  return nevers.length === 0
    ? schema
    : schema.meta({ not: { pattern: `^${oneOf(nevers.map(({ form: never }) => never))}$` } });
}

/**
 * A field as it is explained to people.
 *
 * @param without what holds where a field without a default is left out.
 */
const said = <T extends z.ZodType>(schema: T, example: unknown, description: string, without?: string): T =>
  schema.meta({ examples: [example], description, ...(without === undefined ? {} : { without }) });

/** A list without doubles, empty where it is left out. */
function listOf<T extends z.ZodType<string>>(item: T, most: number, says: string) {
  return z
    .array(item)
    .max(most)
    .refine((values) => new Set(values).size === values.length, says)
    .meta({ uniqueItems: true });
}

const unit = text(PATTERNS.UnitName, 'not the name of a systemd unit');
const units = listOf(unit, 5, 'each unit once').default([]);

export const certName = text(
  PATTERNS.CertName,
  'up to 64 letters, digits, dots, dashes and underscores, with a letter or digit at both ends',
  NO_TWO_DOTS,
);
export const certificateArn = text(PATTERNS.CertificateArn, 'not the ARN of an ACM certificate');
export const account = text(PATTERNS.AccountId, 'not an account id of 12 digits');
export const deploymentId = text(PATTERNS.DeploymentId, 'not a DeploymentId');

/**
 * Options of the installation. They reach the install script as parameters of the same names: lists with a space between
 * two values, what is left out as an empty text. One that the first edition did not know has no default: a member stack
 * that is older gets no parameter that it does not know, unless an order asks for it.
 */
export const INSTALL_OPTIONS = {
  ReloadServices: said(
    units,
    ['haproxy', 'nginx'],
    'systemd units to reload, in this order, for example `["nginx"]`.',
  ),
  RestartServices: said(
    units,
    ['slapd'],
    'systemd units to restart after the reloads, in this order, for example `["slapd"]`. Name units here that cannot reload. A unit may be in one of the two lists only.',
  ),
  VerifyPort: said(
    z.int().min(0).max(65535).default(0),
    8443,
    'Port on the node that must serve the new certificate after the installation. The node asks the port at 127.0.0.1 or [::1]. 0 checks no port.',
  ),
  VerifyName: said(
    text(PATTERNS.DnsName, 'not a DNS name', NO_TWO_DOTS).optional(),
    'www.example.com',
    'DNS name to ask for at the port (SNI).',
    "one of the certificate's own names",
  ),
  VerifyProtocol: said(
    z.enum(['imap', 'pop3', 'smtp', 'ftp', 'ldap', 'postgres', 'mysql']).optional(),
    'imap',
    'Protocol that the port speaks before TLS (STARTTLS).',
    'TLS at once',
  ),
  KeyFormat: said(
    z.enum(['decrypted', 'encrypted']).default('decrypted'),
    'decrypted',
    'Form of the private key on the node: `decrypted`, or `encrypted` with the passphrase that is in the bundle.',
  ),
  ExtraFormats: said(
    listOf(z.enum(['combined-pem', 'pkcs12']), 2, 'each format once').default([]),
    ['combined-pem', 'pkcs12'],
    'More files: `combined-pem` for HAProxy, `pkcs12` for Java.',
  ),
  KeyMode: said(
    z.enum(['0400', '0440', '0600', '0640']).optional(),
    '0640',
    'File mode of the private key.',
    'that of the existing file, else `0600`',
  ),
  KeyGroup: said(
    text(PATTERNS.UnixGroup, 'not the name of a Unix group', NO_NUMBER_AND_NO_DOTS).optional(),
    'ssl-cert',
    'Unix group of the private key: any name that useradd takes.',
    'that of the existing file, else `root`',
  ),
  TakeOver: said(
    z.boolean().optional(),
    true,
    'Takes the name over from another deployment that owns it on a node, for example one that no longer exists. Without this option such a node refuses.',
    '`false`',
  ),
};

export const InstallOptions = z.strictObject(INSTALL_OPTIONS);
export type InstallOptions = z.output<typeof InstallOptions>;

/** They reach the install script as one parameter, which has 512 characters. */
export const MOST_EXCLUDED = 25;

/** The fields of a request, but for the name of the certificate, which is in the path. */
const ORDER = {
  CertificateArn: said(
    certificateArn,
    'arn:aws:acm:eu-central-1:111122223333:certificate/11112222-3333-4444-5555-666677778888',
    "ARN of an exportable ACM certificate in the stack's own account and Region. A deployment that is registered keeps its certificate if you leave this out.",
  ),
  TargetTagKey: said(
    text(
      PATTERNS.TagKey,
      'up to 128 letters, digits, spaces and _ . : / = - @',
      NO_SPACE_AT_AN_END,
      NO_KEY_OF_AWS,
    ),
    'acm-export',
    'Key of the tag that the nodes have: one of the TargetTagKeys of the stack.',
  ),
  TargetTagValue: said(
    text(PATTERNS.TagValue, 'up to 256 letters, digits, spaces and _ . : / = + - @', NO_SPACE_AT_AN_END),
    'web-prod',
    'Value of that tag.',
  ),
  TargetAccount: said(account.optional(), '444455556666', 'Account of the nodes.', "the stack's own"),
  TargetRegion: said(
    text(PATTERNS.Region, 'not a Region').optional(),
    'eu-central-1',
    'Region of the nodes.',
    "the stack's own",
  ),
  ...INSTALL_OPTIONS,
  // Ten at once keeps a fleet of web servers serving; one node in ten may fail before the rest is left alone.
  // Forms as in SendCommand (SSM API reference).
  MaxConcurrency: said(
    text(PATTERNS.Amount, 'a number or a percentage from 1').default('10'),
    '25%',
    'How many nodes install at once, after the first one: a number or a percentage.',
  ),
  MaxErrors: said(
    text(PATTERNS.AmountOrNone, 'a number or a percentage').default('10%'),
    '1',
    'How many nodes may fail: a number or a percentage. After one more failure the rollout starts no further node. Nodes that are refused for a reason of their own do not count.',
  ),
  ExcludeNodeIds: said(
    listOf(text(PATTERNS.NodeId, 'not the id of a managed node'), MOST_EXCLUDED, 'each node once').default(
      [],
    ),
    ['i-0123456789abcdef0'],
    'Nodes that this deployment leaves out, at most 25, as if they did not have the tag. What is installed there stays, gets no newer version, and is not watched. A list replaces the one before.',
  ),
  DryRun: said(
    z.boolean().default(false),
    false,
    'Runs all checks on the nodes and changes nothing, neither there nor in what is registered. LastTrial has the result, and each node has its own.',
  ),
  Delivery: said(
    z.enum(['nodes', 'secret']).default('nodes'),
    'nodes',
    '`nodes` installs on managed nodes. `secret` only stores and renews the bundle for the roles in ReaderRoleArns, and announces each version by an event in the target account.',
  ),
  // A resource policy holds 20,480 characters; ten ARNs of the longest names fit many times.
  ReaderRoleArns: said(
    listOf(text(PATTERNS.RoleArn, 'not the ARN of a role'), 10, 'each role once').min(1).optional(),
    ['arn:aws:iam::444455556666:role/ecs-execution'],
    'Roles of the target account that may read the bundle. Only with Delivery `secret`. Warnings name a role that does not exist; the others can read all the same.',
  ),
  BundleFormats: said(
    listOf(z.enum(['pkcs12']), 1, 'each format once')
      .min(1)
      .optional(),
    ['pkcs12'],
    'More parts of the bundle: `pkcs12` puts key, certificate and chain into `Pkcs12` too, in base64. With Delivery `secret` only.',
  ),
};

const OrderFields = z.strictObject({
  CertName: said(z.string().optional(), 'web-prod', 'The same name as in the path, if you give it.'),
  ...ORDER,
});

/** A rule over several fields; it is checked beside faults of single ones, so that all are named at once. */
const rule = (path: keyof typeof ORDER, message: string) => ({
  path: [path],
  message,
  when: ({ value }: z.core.ParsePayload) => typeof value === 'object' && value !== null,
});

/** systemd reads a name without a suffix as that of a service. */
const unitOf = (name: unknown) => String(name).replace(/\.service$/, '');

/** Whether no unit is in both lists. A value that is no list is a fault of its own field. */
function areApart(reloaded: unknown, restarted: unknown): boolean {
  const namesIn = (list: unknown) => (Array.isArray(list) ? list.map(unitOf) : []);
  return new Set(namesIn(reloaded)).isDisjointFrom(new Set(namesIn(restarted)));
}

/** Options that say how the port is asked. */
export const NEEDS_PORT = ['VerifyName', 'VerifyProtocol'] as const;

/** A whole order, and whether it is only tried: what a new deployment does not name has its default. */
export const DeploymentBody = NEEDS_PORT.reduce(
  (body, name) =>
    body.refine(
      (fields) => fields[name] === undefined || fields.VerifyPort !== 0,
      rule(name, 'only with a VerifyPort'),
    ),
  OrderFields,
)
  .refine(
    ({ Delivery, ReaderRoleArns }) => Delivery !== 'secret' || ReaderRoleArns !== undefined,
    rule('ReaderRoleArns', 'needed with Delivery secret: who may read the bundle'),
  )
  .refine(
    ({ Delivery, ReaderRoleArns }) => Delivery === 'secret' || ReaderRoleArns === undefined,
    rule('ReaderRoleArns', 'only with Delivery secret: nodes read by their tag'),
  )
  // A node tells versions apart by their ids alone: it would install the same certificate again, and reload for it.
  .refine(
    ({ Delivery, BundleFormats }) => Delivery === 'secret' || BundleFormats === undefined,
    rule('BundleFormats', 'only with Delivery secret: on nodes ExtraFormats makes the file'),
  )
  .refine(
    ({ Delivery, DryRun }) => Delivery !== 'secret' || DryRun !== true,
    rule('DryRun', 'only with Delivery nodes'),
  )
  .refine(
    ({ ReloadServices, RestartServices }) => areApart(ReloadServices, RestartServices),
    rule('RestartServices', 'a unit is reloaded or restarted: none of these may be in ReloadServices'),
  );

export type DeploymentRequest = z.output<typeof DeploymentBody>;

type Asked<Field> =
  Field extends z.ZodDefault<infer Value extends z.ZodType>
    ? z.ZodOptional<z.ZodNullable<Value>>
    : Field extends z.ZodOptional<infer Value extends z.ZodType>
      ? z.ZodOptional<z.ZodNullable<Value>>
      : Field;

/** The fields as a request may leave them out, which says nothing of them, or set their default by null. */
function asked<Shape extends Record<string, z.ZodType>>(shape: Shape) {
  const fields = Object.entries(shape).map(([name, field]) => {
    const value = field instanceof z.ZodDefault || field instanceof z.ZodOptional ? field.unwrap() : field;
    return [name, value === field ? field : (value as z.ZodType).nullable().optional()];
  });
  return Object.fromEntries(fields) as { [Name in keyof Shape]: Asked<Shape[Name]> };
}

/** What POST …/deployments takes of an order: what a deployment that is registered has, it need not name. */
export const ASKED = {
  CertName: OrderFields.shape.CertName,
  ...asked(ORDER),
  CertificateArn: ORDER.CertificateArn.optional(),
  /** As the first edition's answers have them. */
  Options: z.strictObject(asked(INSTALL_OPTIONS)).optional(),
};

/** An order as callers write and see it. */
export type FlatOrder = InstallOptions &
  Target &
  Omit<DeploymentRequest, 'DryRun' | keyof InstallOptions | keyof Target> & { CertName: string };

const DEFAULT_OPTIONS = InstallOptions.parse({});

/** An older order lacks the options that came later. */
export const withDefaults = (options: InstallOptions): InstallOptions => ({ ...DEFAULT_OPTIONS, ...options });

/** An order with every option at the top level. */
export function flatOf({ Options, Delivery = 'nodes', ExcludeNodeIds = [], ...order }: Order): FlatOrder {
  return { ...order, ...withDefaults(Options), Delivery, ExcludeNodeIds };
}

/** Field names on the wire and in DynamoDB alike. */
export type Target = {
  [Field in 'TargetAccount' | 'TargetRegion' | 'TargetTagKey' | 'TargetTagValue']: NonNullable<
    DeploymentRequest[Field]
  >;
};

/** The standing order: this certificate, under this name, on every node with this tag. */
export interface Order
  extends Target,
    Pick<
      DeploymentRequest,
      'CertificateArn' | 'ReaderRoleArns' | 'BundleFormats' | 'MaxConcurrency' | 'MaxErrors'
    > {
  CertName: string;
  /** Absent in what the first edition wrote: nodes. */
  Delivery?: DeploymentRequest['Delivery'];
  /** Absent in what an older edition wrote: none. */
  ExcludeNodeIds?: DeploymentRequest['ExcludeNodeIds'];
  Options: InstallOptions;
}
