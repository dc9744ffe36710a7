/**
 * The form of every value that crosses a border, once for the API, the functions, the SSM documents and the install
 * script.
 *
 * Unanchored: who uses one anchors it. In the subset that JavaScript, Java (SSM), RE2 (the SSM Agent) and bash read
 * alike: no backslash, `-` last in a class, no counted repeat above 255, nested ones not above 1,000 together (RE2's
 * limit), and no alternatives outside of parentheses.
 */
export const PATTERNS = {
  AccountId: '[0-9]{12}',
  // What the owner of an account or server allows: one name, or how names begin and a star for what follows.
  AllowedCertName: '[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9*])?',
  AllowedService: '[A-Za-z0-9]([A-Za-z0-9:_.@-]{0,62}[A-Za-z0-9:_.@*-])?',
  Amount: '([1-9][0-9]{0,6}|[1-9][0-9]?%|100%)',
  AmountOrNone: '(0|[1-9][0-9]{0,6}|[0-9]%|[1-9][0-9]%|100%)',
  CertificateArn: 'arn:aws[a-z-]{0,20}:acm:[a-z0-9-]{1,30}:[0-9]{12}:certificate/[A-Za-z0-9-]{1,64}',
  CertName: '[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?',
  CorrelationId: '[A-Za-z0-9-]{1,64}',
  DeploymentId: '[0-9a-f]{24}',
  DnsName: '[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?',
  NodeId: '(i-([0-9a-f]{8}|[0-9a-f]{17})|mi-[0-9a-f]{17})',
  // A node id without its i-: with it, 25 of hybrid nodes would not fit into the 512 characters of a parameter.
  NodeIdTail: 'm?[0-9a-f]{8,17}',
  // Partitions of their own have Regions of their own: eusc-de-east-1.
  Region: '[a-z]{2,4}(-[a-z]{1,10}){1,3}-[0-9]{1,2}',
  RoleArn:
    'arn:aws[a-z-]{0,20}:iam::[0-9]{12}:role/([A-Za-z0-9+=,.@_/-]{1,255}[A-Za-z0-9+=,.@_/-]{0,255}/)?[A-Za-z0-9+=,.@_-]{1,64}',
  RolloutNumber: '(0|[1-9][0-9]{0,14})',
  Scope: '(tag|nodes)',
  // Ours have 117 characters behind secret: at most. Each more counts twice in the 64 KB of a document.
  SecretArn: 'arn:aws[a-z-]{0,20}:secretsmanager:[a-z0-9-]{1,30}:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,120}',
  // Systems Manager takes no + in the key of a target (API reference, Target); tags may have one.
  TagKey: '[A-Za-z0-9 _.:/=@-]{1,128}',
  TagValue: '[A-Za-z0-9 _.:/=+@-]{1,128}[A-Za-z0-9 _.:/=+@-]{0,128}',
  UnitName: '[A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}',
  // useradd(8) takes capitals, and a $ at the end.
  UnixGroup: '[A-Za-z0-9_.][A-Za-z0-9_.-]{0,30}[A-Za-z0-9_.$-]?',
  VersionId: '[0-9a-f]{64}',
} as const;

/** A pattern for a whole text. */
export const whole = (pattern: string) => new RegExp(`^${pattern}$`);
