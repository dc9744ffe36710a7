# ---- `make render` writes this part, from exit-codes.yaml and functions/domain/order.ts ----
declare -rA EXIT_CODE=(
  [unexpected]=1
  [agent-too-old]=10
  [bad-parameter]=11
  [missing-tool]=12
  [busy]=13
  [dry-run-impossible]=14
  [left-out]=15
  [bundle-denied]=20
  [bundle-throttled]=21
  [bundle-network]=22
  [bundle-not-found]=23
  [bundle-invalid]=24
  [bundle-unreadable]=25
  [rollout-superseded]=30
  [owned-by-another]=31
  [path-refused]=32
  [service-not-running]=33
  [hook-refused]=34
  [reload-impossible]=35
  [key-access-impossible]=36
  [name-refused]=37
  [certificate-invalid]=40
  [certificate-expired]=41
  [certificate-not-yet-valid]=42
  [key-unreadable]=43
  [key-mismatch]=44
  [chain-invalid]=45
  [write-failed]=50
  [config-test-failed]=60
  [hook-failed]=61
  [reload-failed]=62
  [not-served]=63
  [way-back-failed]=70
  [interrupted]=71
)
# Whose cause lies in this node alone, with nothing changed.
declare -r OWN_FAULTS=' 10 12 13 14 15 20 22 25 30 31 32 34 37 50 '

declare SecretArn ReloadServices RestartServices VerifyPort VerifyName VerifyProtocol KeyFormat ExtraFormats KeyMode KeyGroup TakeOver ExcludeNodeIds Heal
take_parameters() {
  take SecretArn 'arn:aws[a-z-]{0,20}:secretsmanager:[a-z0-9-]{1,30}:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,120}'
  take VersionId '[0-9a-f]{64}'
  take CertName '[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?'
  never CertName '.*[.][.].*'
  take DeploymentId '[0-9a-f]{24}'
  take RolloutNumber '(0|[1-9][0-9]{0,14})'
  take CorrelationId '[A-Za-z0-9-]{1,64}'
  take ReloadServices '([A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}( [A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}){0,4})?' ''
  take RestartServices '([A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}( [A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}){0,4})?' ''
  take VerifyPort '(0|[1-9][0-9]{0,4})' '0'
  most VerifyPort 65535
  take VerifyName '([A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)?' ''
  never VerifyName '.*[.][.].*'
  take VerifyProtocol '(imap|pop3|smtp|ftp|ldap|postgres|mysql)?' ''
  take KeyFormat '(decrypted|encrypted)' 'decrypted'
  take ExtraFormats '((combined-pem|pkcs12)( (combined-pem|pkcs12)){0,1})?' ''
  take KeyMode '(0400|0440|0600|0640)?' ''
  take KeyGroup '([A-Za-z0-9_.][A-Za-z0-9_.-]{0,30}[A-Za-z0-9_.$-]?)?' ''
  never KeyGroup '([0-9]+|[.][.]?)'
  take TakeOver '(true|false)?' ''
  take ExcludeNodeIds '(m?[0-9a-f]{8,17}( m?[0-9a-f]{8,17}){0,24})?' ''
  take DryRun '(true|false)' 'false'
  take Heal '(true|false)' 'false'
  take AfterCanary '(true|false)' 'false'
}

# As the first edition noted them: what it installed stays unchanged. Later options follow.
note_options() {
  options="$ReloadServices|$VerifyPort|$KeyFormat|$ExtraFormats|$KeyMode|$KeyGroup${RestartServices:+|RestartServices=$RestartServices}${VerifyName:+|VerifyName=$VerifyName}${VerifyProtocol:+|VerifyProtocol=$VerifyProtocol}"
}
