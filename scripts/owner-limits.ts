// What the owner of an account allows (AllowedCertNames and AllowedServices of member-account.yaml), as patterns of the
// SSM documents: Systems Manager itself refuses all else, whatever the central account asks for.
//
// A stack of a StackSet has neither macros nor transforms, so a pattern is made of Join and Split: a comma becomes an
// alternative, a dot a literal one, and the star at the end of an entry the characters that may follow. No other
// character of an entry means anything in a pattern: LIST_FORMS sees to that.
import { PATTERNS } from '../functions/domain/patterns.ts';

type Intrinsic = Record<string, unknown>;
type List = 'AllowedCertNames' | 'AllowedServices';

/** The most entries of a list. IAM needs as many ARNs, which the template writes one by one. */
export const MOST_ENTRIES = 10;
/** The most characters of a list: with its patterns the document for nodes stays below the 64 KB of an SSM document. */
export const LONGEST_LIST: Record<List, number> = { AllowedCertNames: 200, AllowedServices: 100 };

/** A star alone, or entries. Java reads it (CloudFormation, AllowedPattern). */
const listOf = (entry: string) => `^(?!.*[.][.])([*]|${entry}(,${entry}){0,${MOST_ENTRIES - 1}})$`;

/** What the template takes as a list. */
export const LIST_FORMS: Record<List, string> = {
  AllowedCertNames: listOf(PATTERNS.AllowedCertName),
  AllowedServices: listOf(PATTERNS.AllowedService),
};

/** The condition of the template that says whether a list limits anything. */
const CONDITIONS: Record<List, string> = {
  AllowedCertNames: 'LimitsCertNames',
  AllowedServices: 'LimitsServices',
};

/** What a star stands for. How long a name may be is said elsewhere: by the API, and by the script on the node. */
const STARS: Record<List, string> = {
  AllowedCertNames: '[A-Za-z0-9._-]*',
  AllowedServices: '[A-Za-z0-9:_.@-]*',
};

const replaced = (text: Intrinsic, from: string, to: string): Intrinsic => ({
  'Fn::Join': [to, { 'Fn::Split': [from, text] }],
});

/** @param pattern with the entries as alternatives in the place of Allowed. */
function limit(list: List, pattern: string) {
  const alternatives = replaced(replaced({ Ref: list }, ',', '|'), '.', '[.]');
  const Allowed = replaced(alternatives, '*', STARS[list]);
  return { condition: CONDITIONS[list], pattern: { 'Fn::Sub': [`^${pattern}$`, { Allowed }] } };
}

const certName = limit('AllowedCertNames', '(${Allowed})');
/** A list of units has the alternatives once, to keep it short: each unit ends at a space or at the end. */
const services = limit('AllowedServices', '((${Allowed})( |$)){0,5}');
/** The name of a bundle is that of the certificate, and Secrets Manager adds six characters, of which it does not say which. */
const bundle = limit(
  'AllowedCertNames',
  `arn:\${AWS::Partition}:secretsmanager:\${AWS::Region}:\${AWS::AccountId}:secret:\${Prefix}/(\${Allowed})/${PATTERNS.DeploymentId}-[A-Za-z0-9_+=.@-]{6}`,
);

/**
 * The parameters of each document that the owner's lists limit. The document for nodes has no room for a limit to
 * bundles: its script compares the bundle's name with CertName, which is limited.
 */
const LIMITS: Record<string, Record<string, ReturnType<typeof limit>>> = {
  'install-on-fleet.yaml': {
    SecretArn: bundle,
    CertName: certName,
    ReloadServices: services,
    RestartServices: services,
  },
  'install-on-node.yaml': { CertName: certName, ReloadServices: services, RestartServices: services },
};

/** A parameter's pattern as the template has it. Where everything is allowed it is that of the document. */
export function patternInTemplate(file: string, name: string, pattern: string): string | Intrinsic {
  const limited = LIMITS[file]?.[name];
  return limited ? { 'Fn::If': [limited.condition, limited.pattern, pattern] } : pattern;
}
