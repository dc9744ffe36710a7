/** Every environment variable that a function may read, with what it is. The templates set exactly these. */
const VARIABLES = {
  PREFIX: 'name prefix shared by this stack and its member stacks',
  INVENTORY_TABLE: 'DynamoDB table of deployments and nodes',
  IDEMPOTENCY_TABLE: 'DynamoDB table of Powertools idempotency records',
  ROLLOUTS_ENABLED: 'false: the whole stack starts no rollout',
  STATE_MACHINE_ARN: 'the rollout state machine',
  NOTIFICATION_TOPIC_ARN: 'SNS topic for people',
  EXTERNAL_ID: 'external id that the roles in other accounts expect',
  ACCOUNT_ID: 'the central account',
  PARTITION: 'aws, aws-cn, aws-us-gov',
  AWS_REGION: 'set by Lambda: the Region of the central stack',
  DNS_ACCOUNTS:
    'comma-separated account ids whose hosted zones get the validation records of ACM; empty: a person creates them',
  TARGET_ACCOUNTS: 'comma-separated account ids that deployments may target; empty: the central account only',
  SECRET_READER_ROLES:
    'comma-separated role names, or beginnings of them with *, that may read delivered secrets',
  TARGET_TAG_KEYS: 'comma-separated tag keys that deployments may target',
  REQUIRE_CERTIFICATE_TAG: 'true: the tag CertName of a certificate must allow the name',
  ALLOW_PRIVATE_CERTIFICATES: 'true: certificates of private authorities may be registered',
  MAX_DEPLOYMENTS: 'beyond so many deployments no new one is registered',
  REQUEST_RULES: 'comma-separated NAME=DOMAIN: which name may have a certificate for which domains',
  MAX_CERTIFICATES_PER_DAY: 'beyond so many certificates a day ACM is not asked for another one',
  MAX_DOMAIN_NAMES: 'how many names a certificate may have that is requested',
  REQUEST_STATE_MACHINE_ARN: 'the state machine of certificate requests',
  NODE_RETENTION_DAYS: 'days after which a node that is gone is dropped from the record',
  REMINDER_DAYS: 'days after which people are reminded of what is paused or frozen; 0: never',
  LOOK_INTERVAL_MINUTES: 'minutes from one look at EC2 nodes to the next; 0: none',
  HYBRID_LOOK_INTERVAL_MINUTES: 'minutes from one look at hybrid nodes to the next; 0: none',
  DISCOVER_ENDPOINTS: 'whether looks list ports that serve what nobody registered: no, list, tell',
  INSTALLATION_TIMEOUT_MINUTES: 'minutes after which an installation that still runs is stopped',
  DEPLOYMENTS_API_URL: 'root of the API of the central stack',
  CERT_NAMES: 'comma-separated names, or beginnings of them with *, that a stack may register',
  CALLER_ROLE_ARN: 'role in the central account that calls the API; empty: the own role of the function',
  AWS_ACCESS_KEY_ID: 'set by Lambda',
  AWS_SECRET_ACCESS_KEY: 'set by Lambda',
  AWS_SESSION_TOKEN: 'set by Lambda',
} as const;

/** Environment variables, as `process.env` holds them. */
export type Environment = Record<string, string | undefined>;

export type VariableName = keyof typeof VARIABLES;

/**
 * Reads the named variables.
 *
 * @throws Error that names every missing variable at once, so that one deployment mends them all.
 */
export function readEnvironment<N extends VariableName>(
  names: readonly N[],
  source: Environment,
): Record<N, string> {
  const missing = names.filter((name) => source[name] === undefined);
  if (missing.length > 0) {
    const described = missing.map((name) => `${name} (${VARIABLES[name]})`);
    throw new Error(`Missing environment variables: ${described.join(', ')}`);
  }
  return Object.fromEntries(names.map((name) => [name, source[name]])) as Record<N, string>;
}

/** The elements of a comma-separated variable; an empty variable is an empty list. */
export function listOf(value: string): string[] {
  return value
    .split(',')
    .map((element) => element.trim())
    .filter((element) => element !== '');
}
