# ---- reading the bundle ----

# As the node's own role: not as root's configuration says, nor as that of Default Host Management. Only a hybrid node
# has its role in a file.
exec_aws() {
  local region=${SecretArn#arn:*:secretsmanager:}
  export AWS_CONFIG_FILE=/dev/null AWS_PAGER=''
  unset AWS_PROFILE AWS_DEFAULT_PROFILE
  if [[ ${AWS_SSM_INSTANCE_ID-} != mi-* ]]; then
    export AWS_SHARED_CREDENTIALS_FILE=/dev/null
  elif [[ ${AWS_SHARED_CREDENTIALS_FILE-} == */amazon/ssm/credentials ]]; then
    unset AWS_SHARED_CREDENTIALS_FILE
  fi
  exec_for bundle aws secretsmanager get-secret-value --secret-id "$SecretArn" --version-id "$VersionId" \
    --region "${region%%:*}" --query SecretString --output text
}

# Sets BUNDLE. $(...) would wait until all that the AWS CLI leaves behind have closed the pipe.
call_aws() {
  local status=1
  { IFS= read -r -d '' BUNDLE && IFS= read -r -d '' status; } < <(
    exec 2>|"$RUN/aws-error" 3>&- 7>&- 8>&- 9>&-
    status=0
    (exec_aws) || status=$?
    printf '\0%s\0' "$status"
  )
  return "$status"
}

read_bundle() {
  local try kind message
  for try in 1 2 3 4 5; do
    ! call_aws || return 0
    explain_aws_error "$(<"$RUN/aws-error")"
    [[ $kind == bundle-throttled || $kind == bundle-network ]] || break
    ((try == 5)) || quick sleep "$((2 ** try)).$((RANDOM % 10))" || true # 2, 4, 8, 16 s, and not all nodes at once
  done
  fail "$kind" "$message"
}

explain_aws_error() { # what the AWS CLI wrote to standard error: sets kind and message
  local role="this node's role"
  say_lines "$1"
  [[ ! $1 =~ assumed-role/([A-Za-z0-9+=,.@_-]+)/ ]] || role="role ${BASH_REMATCH[1]}"
  kind=bundle-denied
  case $1 in
    *AccessDenied* | *'not authorized'*)
      message="$role may not read the bundle. Most often the node is tagged and its role is not: give it the same tag, and the read-bundle policy" ;;
    *'locate credentials'* | *Token* | *UnrecognizedClient*)
      message='this node has no valid credentials: it needs an instance profile, or a hybrid activation role' ;;
    *Throttl* | *TooManyRequests* | *'ate exceeded'* | *LimitExceeded*)
      kind=bundle-throttled message='Secrets Manager throttled five tries' ;;
    *ResourceNotFound* | *'marked '*)
      kind=bundle-not-found message='this version of the bundle is gone: start a new rollout' ;;
    '' | *onnect* | *imeout* | *'timed out'* | *esolution* | *SSL* | *roxy* | *InternalService* | *Unavailable*)
      kind=bundle-network message="five tries did not reach Secrets Manager: $1" ;;
    *)
      kind=bundle-unreadable message="the AWS CLI cannot read the bundle: $1" ;;
  esac
}

# A flat JSON object of strings, without jq. Two control characters mark escaped backslashes and quotes: each quote that
# is left begins or ends a string.
parse_bundle() {
  local backslashes=\\\\
  BUNDLE=${BUNDLE//"$backslashes"/$'\1'}
  BUNDLE=${BUNDLE//'\"'/$'\2'}
  [[ $BUNDLE =~ ^[[:space:]]*\{.*\}[[:space:]]*$ ]] || fail bundle-invalid 'the bundle is empty or cut off'
  take_field Certificate
  split_certificates "$FIELD"
  leaf=${CERTIFICATES[0]-}
  take_field CertificateChain
  split_certificates "$FIELD"
  chain=("${CERTIFICATES[@]-}")
  take_field Passphrase
  PASSPHRASE=$FIELD
  take_field PrivateKey
  ENCRYPTED_KEY=${FIELD%$'\n'}
  take_field Serial
  serial=$FIELD
  unset BUNDLE FIELD
  [[ -n $leaf ]] || fail certificate-invalid 'the bundle holds no certificate'
  [[ -n ${chain[0]} ]] || fail chain-invalid 'the bundle holds no certificate chain'
  [[ $ENCRYPTED_KEY == *'BEGIN ENCRYPTED PRIVATE KEY'* ]] || fail bundle-invalid 'the private key in the bundle is not encrypted'
  [[ $serial =~ ^[0-9a-f]{2,64}$ ]] || fail bundle-invalid 'the serial in the bundle does not have its form'
  result_serial=$serial
}

take_field() { # name: sets FIELD
  local pattern="\"$1\"[[:space:]]*:[[:space:]]*\"([^\"]+)\"" escaped_slash='\/'
  [[ $BUNDLE =~ $pattern ]] || fail bundle-invalid "the bundle has no $1"
  FIELD=${BASH_REMATCH[1]//"$escaped_slash"//}
  printf -v FIELD '%b' "$FIELD" # the other escapes of JSON, such as \n and \u002b, are also those of %b
  FIELD=${FIELD//$'\2'/\"}
  FIELD=${FIELD//$'\1'/\\}
}
