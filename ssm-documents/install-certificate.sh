#!/bin/bash
# Installs one version of one certificate on this node, as root, started by the SSM Agent.
#
# The promise: the services of this node serve either the certificate they served before, or the new
# one, whole. All files change by one rename; whatever goes wrong after it, the rename is undone, the
# services are reloaded again, and that is proved. Start reading at main, at the end.
#
# Input    environment variables SSM_<parameter>, set by the agent from the document's parameters
# Output   standard output: one line of JSON, the result; standard error and the journal: what was done
# Exit     0, or the code of the fault: see EXIT_CODE below and README.md beside this file
# Needs    bash 4.2, openssl 1.0.2, coreutils, util-linux, AWS CLI 1 or 2
#
# The key and its passphrase live in variables of this shell, are never exported, and reach openssl
# through pipes only. No here-documents or here-strings: bash writes those to temporary files.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started by a plain sh

set -euo pipefail -o errtrace -o noclobber
export LC_ALL=C HOME="${HOME:-/root}" AWS_PAGER='' RANDFILE=/dev/null
ulimit -c 0 # no core file: it would hold the key
unset BUNDLE FIELD PASSPHRASE ENCRYPTED_KEY PRIVATE_KEY # an exported variable of that name would stay exported

# 194 would make the agent reboot the node; above 125 belongs to the shell.
declare -rA EXIT_CODE=(
  [unexpected]=1
  [agent-too-old]=10 [bad-parameter]=11 [missing-tool]=12 [busy]=13 [dry-run-impossible]=14
  [bundle-denied]=20 [bundle-throttled]=21 [bundle-network]=22 [bundle-not-found]=23
  [bundle-invalid]=24 [bundle-unreadable]=25
  [rollout-superseded]=30 [owned-by-another]=31 [path-refused]=32 [service-not-running]=33 [hook-refused]=34
  [certificate-invalid]=40 [certificate-expired]=41 [certificate-not-yet-valid]=42
  [key-unreadable]=43 [key-mismatch]=44 [chain-invalid]=45
  [write-failed]=50
  [config-test-failed]=60 [hook-failed]=61 [reload-failed]=62 [not-served]=63
  [way-back-failed]=70 [interrupted]=71
)

ROOT=${ACM_EXPORT_ROOT:-} # empty on a node; tests and the local cloud give a folder that stands for /
RUN=$ROOT/run/acm-export
HOOKS=$ROOT/etc/acm-export/hooks.d

CorrelationId='' CertName='' DeploymentId='' RolloutNumber=0 VersionId='' SecretArn='' DryRun=''
ReloadServices='' VerifyPort=0 KeyFormat='' ExtraFormats='' KeyMode='' KeyGroup=''
outcome='' fault='' error='' current_step=start result_serial=''
switched='' previous='' staged='' services_touched='' dead_service='' made_links=() hooks=() hooks_done=()

# ---- telling what happens ------------------------------------------------------------------------

say() {
  local line="CorrelationId=$CorrelationId CertName=$CertName $*"
  printf '%s\n' "$line" >&2
  [[ -n ${journal:-} ]] || return 0
  trap '' PIPE # a journal that is gone must not end the installation
  printf '%s\n' "$line" >&8 2>/dev/null || journal=''
  trap - PIPE
}

say_lines() { # text: what a command printed
  local line
  while IFS= read -r line; do
    [[ -z $line ]] || say "  $line"
  done < <(printf '%s\n' "$1")
}

step() {
  current_step=$1
  say "step $1"
}

fail() { # kind of fault, message
  fault=$1 error=$2
  exit "${EXIT_CODE[$1]}"
}

plain_text() { # text → one line of plain characters, safe inside a JSON string
  local text=${1//[$'\n\r\t']/ }
  text=${text//\"/\'}
  text=${text//[^ -~]/}
  text=${text//\\/}
  printf '%s' "${text:0:300}"
}

report() { # exit code
  local failure=''
  [[ -z $fault ]] || failure=$(printf ',"Step":"%s","Error":"%s"' "$current_step" "$(plain_text "$error")")
  printf '{"Outcome":"%s","ExitCode":%d,"Serial":"%s","VersionId":"%s","RolloutNumber":%d,"DeploymentId":"%s","CertName":"%s","CorrelationId":"%s"%s}\n' \
    "$outcome" "$1" "$result_serial" "$VersionId" "$RolloutNumber" "$DeploymentId" "$CertName" \
    "$CorrelationId" "$failure" >&3
}

# Runs however the script ends, save kill -9: takes the way back if one is due, then reports.
finish() {
  local code=$?
  trap - EXIT ERR
  trap '' HUP INT TERM
  set +e
  if ((code != 0)); then
    [[ -n $fault ]] || { fault=unexpected error="the script itself failed at line ${failed_line:-unknown}"; }
    say "FAULT $fault in step $current_step: $error"
    outcome=failed
    if [[ -z $switched ]]; then
      discard_staged_files
    elif [[ -z $dead_service ]]; then
      take_the_way_back
    fi
    code=${EXIT_CODE[$fault]}
  fi
  say "outcome $outcome, exit code $code"
  report "$code"
  exit "$code"
}

open_channels() {
  exec 3>&1 1>&2 # from here on only report writes to standard output
  if command -v logger >/dev/null; then
    exec 8> >(exec logger -t acm-export >/dev/null 2>&1 3>&-)
    journal=open
  fi
  trap finish EXIT
  trap 'failed_line=$LINENO' ERR
  trap 'fail interrupted "the installation was ended by a signal"' HUP INT TERM
}

# ---- parameters and tools ------------------------------------------------------------------------

take_parameter() { # name, pattern, default (none: the parameter is required)
  local variable=SSM_$1
  if [[ -z ${!variable+set} && $# -lt 3 ]]; then
    fail agent-too-old "SSM_$1 is not set: the SSM Agent is older than 3.3.2746.0, update it with AWS-UpdateSSMAgent"
  fi
  local given=${!variable-${3-}}
  [[ $given =~ ^($2)$ ]] || fail bad-parameter "parameter $1 does not have its form"
  printf -v "$1" '%s' "$given"
}

read_parameters() {
  take_parameter CorrelationId '[A-Za-z0-9-]{1,64}'
  take_parameter CertName '[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?'
  [[ $CertName != *..* ]] || fail bad-parameter 'parameter CertName does not have its form'
  take_parameter DeploymentId '[a-f0-9]{24}'
  take_parameter RolloutNumber '0|[1-9][0-9]{0,14}'
  take_parameter VersionId '[a-f0-9]{64}'
  take_parameter SecretArn 'arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,400}'
  take_parameter ReloadServices '([A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}( [A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}){0,4})?' ''
  take_parameter VerifyPort '0|[1-9][0-9]{0,4}' 0
  ((VerifyPort <= 65535)) || fail bad-parameter 'parameter VerifyPort does not have its form'
  take_parameter KeyFormat 'decrypted|encrypted' decrypted
  take_parameter ExtraFormats '((combined-pem|pkcs12)( (combined-pem|pkcs12))?)?' ''
  take_parameter KeyMode '(0600|0640|0400|0440)?' ''
  take_parameter KeyGroup '([a-z_][a-z0-9_-]{0,31})?' ''
  take_parameter DryRun 'true|false' false
  options="DeploymentId=$DeploymentId VersionId=$VersionId ReloadServices=$ReloadServices VerifyPort=$VerifyPort"
  options+=" KeyFormat=$KeyFormat ExtraFormats=$ExtraFormats KeyMode=$KeyMode KeyGroup=$KeyGroup"

  base=$ROOT/etc/ssl/acm-export/$CertName
  links=("$ROOT/etc/ssl/certs/$CertName-fullchain.pem" "$ROOT/etc/ssl/certs/$CertName-chain.pem"
    "$ROOT/etc/ssl/private/$CertName-privkey.pem")
  files=(fullchain.pem chain.pem privkey.pem) # files[i] of the version is what links[i] leads to
  if [[ $ExtraFormats == *combined-pem* ]]; then
    links+=("$ROOT/etc/ssl/private/$CertName-combined.pem") files+=(combined.pem)
  fi
  if [[ $ExtraFormats == *pkcs12* ]]; then
    links+=("$ROOT/etc/ssl/private/$CertName.p12") files+=(bundle.p12)
  fi
}

config_test_tool() { # systemd unit → the command that tests its configuration, if one is known
  case ${1%.service} in
    nginx) echo nginx ;;
    httpd | apache2) echo apachectl ;;
    haproxy) echo haproxy ;;
  esac
}

check_tools() {
  local unit tool missing='' tools=(aws chgrp chmod chown cp flock ln mkdir mv openssl readlink rm sha256sum sleep sort stat
    sync timeout)
  [[ -z $ReloadServices ]] || tools+=(systemctl)
  for unit in $ReloadServices; do
    tool=$(config_test_tool "$unit")
    tools+=(${tool:+"$tool"})
  done
  [[ $DryRun == false ]] || tools+=(mount unshare)
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || missing+=" $tool"
  done
  [[ -z $missing ]] || fail missing-tool "this node lacks what the installation needs:$missing"
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 402)) || fail missing-tool 'this node lacks bash 4.2 or later'
}

# ---- one installation at a time ------------------------------------------------------------------

own_folder() { # path: makes it if need be; it must be a real folder of ours that others cannot write to
  if [[ ! -e $1 && ! -L $1 ]]; then
    local reason
    reason=$(umask 022 && mkdir -p -- "$1" 2>&1) || fail write-failed "cannot make $1: $reason"
  fi
  { [[ -d $1 && ! -L $1 && -O $1 ]] && closed_to_others "$1"; } ||
    fail path-refused "$1 is not a folder of root that only root can write to"
}

closed_to_others() { # paths: neither group nor others may write to them
  local mode
  for mode in $(stat -L -c %a -- "$@"); do
    ((!(8#$mode & 8#022))) || return 1
  done
}

# One lock for the node, not one per certificate: a configuration test reads all certificates of a
# service, and must not meet another one in the middle of its switch.
lock_this_node() {
  own_folder "$RUN"
  [[ ! -L $RUN/lock ]] || fail path-refused "$RUN/lock is a symbolic link"
  exec 9>>"$RUN/lock"
  flock -w 300 9 || fail busy 'another installation has held the lock for 300 seconds'
}

# ---- dry run -------------------------------------------------------------------------------------

# A dry run does the real steps, up to the configuration test, in a mount namespace of its own, where
# memory covers /etc/ssl: nothing reaches the disk, and everything vanishes when the script ends.
enter_private_mounts() { # the script's own arguments
  [[ $DryRun == true && ${1-} != --in-private-mounts ]] || return 0
  if unshare -m true; then
    exec 1>&3 3>&- 8>&-
    exec unshare -m -- "$BASH" "$0" --in-private-mounts
  fi
  private_mounts=refused
}

cover_folders_with_memory() {
  [[ $DryRun == true ]] || return 0
  [[ -z ${private_mounts-} ]] ||
    fail dry-run-impossible 'this node does not allow unshare -m; all was checked up to staging, nothing was changed'
  mount --make-rprivate / # systemd shares mounts: without this they would show on the whole node
  mkdir -p -- "$RUN/dry-run"
  mount -t tmpfs -o mode=0700 tmpfs "$RUN/dry-run"
  cover_with_memory "$ROOT/etc/ssl" ssl
  cover_with_memory "$ROOT/etc/ssl/certs" certs # elsewhere on some distributions, by a symbolic link
  cover_with_memory "$ROOT/etc/ssl/private" private
}

cover_with_memory() { # folder, name of the copy
  [[ -d $1 ]] || return 0
  local folder
  folder=$(readlink -f -- "$1")
  mkdir -- "$RUN/dry-run/$2"
  cp -a -- "$folder/." "$RUN/dry-run/$2/"
  mount --bind "$RUN/dry-run/$2" "$folder"
}

# ---- what is installed already -------------------------------------------------------------------

# The version that is switched on, as the name of its folder, and what the record says of earlier runs.
read_what_is_installed() {
  local target line=''
  current='' recorded_owner='' recorded_number=0 recorded_previous=''
  own_folder "$ROOT/etc/ssl/acm-export"
  own_folder "$base"
  own_folder "$base/versions"
  if [[ -e $base/current || -L $base/current ]]; then
    target=$(readlink -- "$base/current") || target=''
    [[ $target =~ ^versions/[0-9a-f]+-[0-9]+(\.again)?$ && ! -L $base/$target ]] ||
      fail path-refused "$base/current is not a link that this script made"
    [[ ! -d $base/$target ]] || current=${target#versions/}
  fi
  [[ ! -L $base/record ]] || fail path-refused "$base/record is a symbolic link"
  [[ ! -e $base/record ]] || read -r line <"$base/record" || true
  [[ -z $line ]] && return
  [[ $line =~ ^([0-9a-f]{24})\ ([0-9]+)\ ([^ ]+)$ ]] || fail path-refused "$base/record is damaged: remove it to go on"
  recorded_owner=${BASH_REMATCH[1]} recorded_number=${BASH_REMATCH[2]} recorded_previous=${BASH_REMATCH[3]}
}

check_owner() {
  [[ -z $recorded_owner || $recorded_owner == "$DeploymentId" ]] || fail owned-by-another \
    "$CertName belongs to deployment $recorded_owner on this node; if that one is gone, remove $base/record"
}

is_unchanged() {
  [[ $DryRun == false && -n $current && -e $base/current/.completed ]] || return 1
  local i installed_options=''
  read -r installed_options <"$base/current/.options" || return 1
  [[ $installed_options == "$options" ]] || return 1
  for ((i = 0; i < ${#links[@]}; i++)); do
    [[ -L ${links[i]} && ${links[i]} -ef $base/current/${files[i]} ]] || return 1
  done
  key_access_is_as_asked && version_is_intact "$current"
}

key_access_is_as_asked() {
  [[ -n $KeyMode$KeyGroup ]] || return 0
  local mode group
  read -r mode group < <(stat -c '0%a %G' -- "$base/current/privkey.pem") || return 1
  [[ ${KeyMode:-$mode} == "$mode" && ${KeyGroup:-$group} == "$group" ]]
}

version_is_intact() { # version: do its files still hold what was written?
  (cd -- "$base/versions/$1" && sha256sum --status -c .sha256) 2>/dev/null
}

refuse_lower_rollout() {
  ((RolloutNumber >= recorded_number)) || fail rollout-superseded \
    "rollout $RolloutNumber is older than rollout $recorded_number, which this node has seen"
}

# Written to disk before anything is switched: a rollout that arrives late must find it, even after a crash.
record_rollout() {
  previous=$current
  [[ $current == *-$RolloutNumber || $current == *-$RolloutNumber.again ]] && previous=$recorded_previous
  [[ -n $previous && -d $base/versions/$previous ]] || previous=''
  local line="$DeploymentId $RolloutNumber ${previous:--}" reason
  [[ $line != "$recorded_owner $recorded_number $recorded_previous" ]] || return 0
  reason=$({
    rm -f -- "$base/.record.new" &&
      printf '%s\n' "$line" >"$base/.record.new" &&
      sync -- "$base/.record.new" &&
      mv -f -- "$base/.record.new" "$base/record"
  } 2>&1) || fail write-failed "cannot write $base/record: $reason"
}

# ---- reading the bundle --------------------------------------------------------------------------

# The node's own role must read the bundle: its tag is what allows it. No configuration or credentials
# that happen to lie in root's home, and not the account-wide role that the agent hands to scripts
# under Default Host Management. A hybrid node has its role's credentials in /root/.aws/credentials.
use_the_nodes_own_role() {
  export AWS_CONFIG_FILE=/dev/null
  unset AWS_PROFILE AWS_DEFAULT_PROFILE
  if [[ ${AWS_SSM_INSTANCE_ID-} != mi-* ]]; then
    export AWS_SHARED_CREDENTIALS_FILE=/dev/null
  elif [[ ${AWS_SHARED_CREDENTIALS_FILE-} == */amazon/ssm/credentials ]]; then
    unset AWS_SHARED_CREDENTIALS_FILE
  fi
}

read_bundle() {
  local region attempt
  region=${SecretArn#arn:*:secretsmanager:}
  region=${region%%:*}
  for attempt in 1 2 3 4 5; do
    if BUNDLE=$(timeout 60 aws secretsmanager get-secret-value --secret-id "$SecretArn" --version-id "$VersionId" \
      --region "$region" --query SecretString --output text 2>|"$RUN/aws-error"); then
      return
    fi
    explain_aws_error "$(<"$RUN/aws-error")"
    [[ $bundle_fault == bundle-throttled || $bundle_fault == bundle-network ]] || break
    ((attempt == 5)) || sleep "$((2 ** attempt)).$((RANDOM % 10))" # 2, 4, 8, 16 s, and not all nodes at once
  done
  fail "$bundle_fault" "$bundle_error"
}

explain_aws_error() { # what the AWS CLI wrote to standard error → bundle_fault, bundle_error
  local role='the role of this node'
  say_lines "$1"
  [[ ! $1 =~ assumed-role/([A-Za-z0-9+=,.@_-]+)/ ]] || role="role ${BASH_REMATCH[1]}"
  case $1 in
    *AccessDenied* | *'not authorized'*)
      bundle_fault=bundle-denied
      bundle_error="$role may not read the bundle. Most often the node carries the tag and its role does not: give the role the same tag, and the read-bundle policy of the member stack" ;;
    *'locate credentials'* | *ExpiredToken* | *InvalidClientTokenId* | *UnrecognizedClient* | *'security token'*)
      bundle_fault=bundle-denied
      bundle_error='this node has no valid role credentials: an EC2 instance needs an instance profile, a hybrid node its activation role' ;;
    *Throttl* | *TooManyRequests* | *RequestLimitExceeded* | *'ate exceeded'*)
      bundle_fault=bundle-throttled bundle_error='Secrets Manager throttled five tries to read the bundle' ;;
    *ResourceNotFound* | *'marked for deletion'* | *'marked deleted'*)
      bundle_fault=bundle-not-found bundle_error='this version of the bundle is gone: start a new rollout' ;;
    *onnect* | *imeout* | *'timed out'* | *'Name or service not known'* | *'name resolution'* | *SSL* | *roxy* | \
      *InternalService* | *ServiceUnavailable* | '')
      bundle_fault=bundle-network bundle_error="Secrets Manager could not be reached in five tries: $1" ;;
    *)
      bundle_fault=bundle-unreadable bundle_error="the AWS CLI cannot read the bundle: $1" ;;
  esac
}

# The bundle is a flat JSON object of strings, and jq is not on every node. Control characters cannot
# stand raw in JSON, so two of them mark escaped backslashes and quotes: what is left of " are the ends of strings.
parse_bundle() {
  local backslashes=\\\\
  BUNDLE=${BUNDLE//"$backslashes"/$'\1'}
  BUNDLE=${BUNDLE//'\"'/$'\2'}
  [[ $BUNDLE =~ ^[[:space:]]*\{.*\}[[:space:]]*$ ]] || fail bundle-invalid 'the bundle is empty or cut off'
  take_field Certificate && split_certificates "$FIELD" && leaf=${CERTIFICATES[0]-}
  take_field CertificateChain && split_certificates "$FIELD" && chain=("${CERTIFICATES[@]-}")
  take_field PrivateKey && ENCRYPTED_KEY=${FIELD%$'\n'}
  take_field Passphrase && PASSPHRASE=$FIELD
  take_field Serial && serial=$FIELD
  unset BUNDLE FIELD
  [[ $ENCRYPTED_KEY == *'-----BEGIN ENCRYPTED PRIVATE KEY-----'* ]] ||
    fail bundle-invalid 'the private key in the bundle is not encrypted PKCS 8'
  [[ $serial =~ ^[0-9a-f]{2,64}$ ]] || fail bundle-invalid 'the serial in the bundle does not have its form'
  [[ -n $leaf ]] || fail certificate-invalid 'the bundle holds no certificate'
  [[ -n ${chain[0]} ]] || fail chain-invalid 'the bundle holds no certificate chain'
  result_serial=$serial
}

take_field() { # name → FIELD
  local pattern="\"$1\"[[:space:]]*:[[:space:]]*\"([^\"]+)\""
  [[ $BUNDLE =~ $pattern ]] || fail bundle-invalid "the bundle has no $1"
  printf -v FIELD '%b' "${BASH_REMATCH[1]//'\/'//}" # JSON's escapes \n, \t, \u002b are also those of %b
  FIELD=${FIELD//$'\2'/\"}
  FIELD=${FIELD//$'\1'/\\}
}

# Keeps the certificates and drops whatever text stands around them: not every server reads past it.
split_certificates() { # text → CERTIFICATES
  local line block='' IFS=$'\n'
  CERTIFICATES=()
  set -f
  for line in $1; do
    line=${line%$'\r'}
    case $line in
      '-----BEGIN CERTIFICATE-----') block=$line$'\n' ;;
      '-----END CERTIFICATE-----') [[ -z $block ]] || CERTIFICATES+=("$block$line"); block='' ;;
      *) [[ -z $block ]] || block+=$line$'\n' ;;
    esac
  done
  set +f
}

# ---- checking it ---------------------------------------------------------------------------------

read_certificate() {
  local text line
  text=$(printf '%s\n' "$leaf" | openssl x509 -noout -serial -pubkey -text 2>/dev/null) ||
    fail certificate-invalid 'openssl cannot read the certificate'
  [[ $text =~ serial=([0-9A-F]+) ]] || fail certificate-invalid 'the certificate has no serial'
  same_serial "${BASH_REMATCH[1],,}" "$serial" ||
    fail certificate-invalid "the certificate has serial ${BASH_REMATCH[1],,}, not $serial as the bundle says"
  certificate_public_key=${text%%-----END PUBLIC KEY-----*}
  certificate_public_key=${certificate_public_key##*-----BEGIN PUBLIC KEY-----}
  text=${text##*Subject Alternative Name:}
  names=()
  while read -r line; do
    if [[ $line =~ ^DNS:((\*\.)?[A-Za-z0-9._-]+)$ ]]; then names+=("${BASH_REMATCH[1]}"); fi
  done < <(printf '%s\n' "${text//,/$'\n'}")
  ((${#names[@]} > 0)) || fail certificate-invalid 'the certificate is for no DNS name'
}

same_serial() { # two serials: leading zeros do not count
  [[ ${1#"${1%%[!0]*}"} == "${2#"${2%%[!0]*}"}" ]]
}

check_key_belongs_to_certificate() {
  local public_key
  PRIVATE_KEY=$(printf '%s\n' "$ENCRYPTED_KEY" | openssl pkey -passin fd:4 4< <(printf '%s\n' "$PASSPHRASE") 2>/dev/null) ||
    fail key-unreadable 'the passphrase in the bundle does not open the private key'
  public_key=$(printf '%s\n' "$PRIVATE_KEY" | openssl pkey -pubout 2>/dev/null) ||
    fail key-unreadable 'openssl cannot read the private key'
  [[ $public_key == *"-----BEGIN PUBLIC KEY-----${certificate_public_key}-----END PUBLIC KEY-----"* ]] ||
    fail key-mismatch 'the private key belongs to another certificate'
}

# Each certificate must be signed by the one that follows: servers send them in this order.
check_chain() {
  local path=("$leaf" "${chain[@]}") i
  for ((i = 0; i + 1 < ${#path[@]}; i++)); do
    check_signed_by_next "${path[i]}" "${path[i + 1]}" "$i"
  done
}

check_signed_by_next() { # certificate, the next one, position (0: the leaf)
  local said which="certificate $3 of the chain"
  [[ $3 != 0 ]] || which='the certificate'
  [[ ${1//$'\n'/} != "${2//$'\n'/}" ]] || fail chain-invalid "$which stands in the chain twice"
  said=$(openssl verify -partial_chain -trusted <(printf '%s\n' "$2") <(printf '%s\n' "$1") 2>&1) || true
  if [[ $said =~ error\ ([0-9]+)\ at\ ([0-9]+)\ depth ]]; then
    case ${BASH_REMATCH[1]}-${BASH_REMATCH[2]}-$3 in
      10-0-0) fail certificate-expired "the certificate has expired by this node's clock" ;;
      9-0-0) fail certificate-not-yet-valid "the certificate is not yet valid by this node's clock" ;;
      10-*) fail chain-invalid "a certificate of the chain has expired, at or after $which" ;;
      *) fail chain-invalid "$which is not issued by the one that follows it: wrong order, or one is missing" ;;
    esac
  fi
  [[ $said == *OK* ]] || fail chain-invalid "openssl cannot verify $which"
}

# ---- checking this node --------------------------------------------------------------------------

# Where our links go, there may be nothing, or our own links. Anything else is somebody's work.
check_paths() {
  local i
  for ((i = 0; i < ${#links[@]}; i++)); do
    check_folder_of_links "${links[i]%/*}"
    if [[ -L ${links[i]} ]]; then
      [[ $(readlink -- "${links[i]}") == "$base/current/${files[i]}" ]] ||
        fail path-refused "${links[i]} is a symbolic link that this script did not make: move it away and try again"
    elif [[ -e ${links[i]} ]]; then
      fail path-refused "${links[i]} exists and is not a link of this script: move it away, or choose another CertName"
    fi
  done
}

check_folder_of_links() { # folder: some distributions have a link here; it must lead to a folder of root's
  [[ -e $1 || -L $1 ]] || return 0
  { [[ -d $1 && -O $1 ]] && closed_to_others "$1"; } ||
    fail path-refused "$1 is not a folder of root that only root can write to"
}

# Hooks as certbot has them: executable files, in byte order, none whose name ends in ~.
check_hooks() {
  local hook
  [[ -d $HOOKS ]] || return 0
  { [[ -O $HOOKS ]] && closed_to_others "$HOOKS"; } ||
    fail hook-refused "$HOOKS must belong to root, and only root may write to it"
  for hook in "$HOOKS"/*; do
    [[ -f $hook && -x $hook && $hook != *~ ]] || continue
    { [[ -O $hook ]] && closed_to_others "$hook" "$(dirname -- "$(readlink -f -- "$hook")")"; } ||
      fail hook-refused "hook $hook must belong to root, and only root may write to it and to its folder"
    hooks+=("$hook")
  done
}

# A reload cannot revive a dead service, and to start one is not ours to decide. Where a certificate
# was installed before, nothing is changed. The first one is put in place all the same: the service may
# be dead for want of it. The next run then completes the installation.
check_services() {
  local unit
  for unit in $ReloadServices; do
    systemctl is-active --quiet "$unit" && continue
    [[ -z $previous && $DryRun == false ]] ||
      fail service-not-running "$unit is not running, so it cannot be reloaded; nothing was changed"
    dead_service=$unit
  done
}

# ---- staging -------------------------------------------------------------------------------------

choose_version_name() {
  version=$serial-$RolloutNumber
  # A folder in use is never written to. It has our name if this rollout was cut off, or is run again.
  if [[ $version == "$current" ]] && ! version_is_ours_and_intact "$version"; then
    version+=.again
  elif [[ $version.again == "$current" ]] && version_is_ours_and_intact "$version.again"; then
    version+=.again
  fi
}

version_is_ours_and_intact() { # version
  local written_with=''
  [[ ! -e $base/versions/$1/.completed ]] || return 1
  read -r written_with 2>/dev/null <"$base/versions/$1/.options" || return 1
  [[ $written_with == "$options" ]] && version_is_intact "$1"
}

stage_version() {
  local reason
  choose_version_name
  [[ $version != "$current" ]] || return 0
  determine_key_access
  staged=$base/versions/$version
  reason=$(write_version 2>&1) || fail write-failed "cannot write $staged: $reason"
  give_key_access
  restore_selinux_labels "$base"
  sync -- "$staged"/* "$staged"/.[os]* "$staged" "$base/versions" "$base" 2>/dev/null ||
    fail write-failed "the disk did not take $staged"
}

write_version() {
  local fullchain
  fullchain=$(printf '%s\n' "$leaf" "${chain[@]}")
  umask 077
  rm -rf -- "$staged" &&
    mkdir -- "$staged" &&
    cd -- "$staged" &&
    printf '%s\n' "$leaf" >cert.pem &&
    printf '%s\n' "${chain[@]}" >chain.pem &&
    printf '%s\n' "$fullchain" >fullchain.pem &&
    printf '%s\n' "SecretArn=$SecretArn" "VersionId=$VersionId" >bundle-reference &&
    chmod a+rX . cert.pem chain.pem fullchain.pem bundle-reference &&
    printf '%s\n' "$options" >.options &&
    if [[ $KeyFormat == encrypted ]]; then PRIVATE_KEY=$ENCRYPTED_KEY; fi &&
    write_pkcs12 "$fullchain" &&
    printf '%s\n' "$PRIVATE_KEY" >privkey.pem &&
    if [[ $ExtraFormats == *combined-pem* ]]; then printf '%s\n' "$fullchain" "$PRIVATE_KEY" >combined.pem; fi &&
    sha256sum -- *.* >.sha256
}

write_pkcs12() { # full chain
  [[ $ExtraFormats == *pkcs12* ]] || return 0
  openssl pkcs12 -export -name "$CertName" -out bundle.p12 -in <(printf '%s\n' "$1") \
    -inkey <(printf '%s\n' "$ENCRYPTED_KEY") -passin fd:4 -passout fd:5 \
    4< <(printf '%s\n' "$PASSPHRASE") 5< <(printf '%s\n' "$PASSPHRASE")
}

# Asked for, else as found on the key that is in place, else 0600 and root.
determine_key_access() {
  local found_mode=600
  key_owner=''
  if [[ -n $current && -f $base/current/privkey.pem ]]; then
    read -r found_mode key_owner < <(stat -c '%a %u:%g' -- "$base/current/privkey.pem")
  fi
  printf -v key_mode '0%o' "$((8#$found_mode & 8#640))" # never for everybody, never writable by the group
  key_mode=${KeyMode:-$key_mode}
}

give_key_access() {
  local key reason
  for key in privkey.pem combined.pem bundle.p12; do
    [[ -f $staged/$key ]] || continue
    if [[ -n $key_owner && $key_owner != 0:0 ]]; then
      reason=$(chown -- "$key_owner" "$staged/$key" 2>&1) || fail write-failed "cannot keep the owner of the key: $reason"
    fi
    if [[ -n $KeyGroup ]]; then
      reason=$(chgrp -- "$KeyGroup" "$staged/$key" 2>&1) ||
        fail bad-parameter "cannot give the key to group $KeyGroup: $reason"
    fi
    [[ $key_mode == 0600 ]] || chmod "$key_mode" -- "$staged/$key"
  done
}

restore_selinux_labels() { # paths
  if [[ -e $ROOT/sys/fs/selinux/enforce ]] && command -v restorecon >/dev/null; then
    restorecon -R -- "$@" || say 'restorecon failed: check the SELinux labels'
  fi
}

discard_staged_files() {
  local link
  [[ -z $staged ]] || rm -rf -- "$staged"
  for link in ${made_links[@]+"${made_links[@]}"}; do
    rm -f -- "$link"
  done
}

# ---- switching -----------------------------------------------------------------------------------

put_link() { # target, link: in one rename, so that nobody ever finds it missing
  local new=${2%/*}/.acm-export-new.$CertName
  rm -f -- "$new" && ln -s -- "$1" "$new" && mv -T -f -- "$new" "$2"
}

# The links lead through current, so that they are made once, and the one rename of current switches them all.
place_links() {
  local i reason folder
  for ((i = 0; i < ${#links[@]}; i++)); do
    [[ ! -L ${links[i]} ]] || continue
    folder=${links[i]%/*}
    if [[ ! -d $folder ]]; then # no listing of private, but a group that may read a key can reach it
      reason=$(mkdir -m "$([[ $folder == */private ]] && echo 0711 || echo 0755)" -- "$folder" 2>&1) ||
        fail write-failed "cannot make $folder: $reason"
    fi
    reason=$(put_link "$base/current/${files[i]}" "${links[i]}" 2>&1) ||
      fail write-failed "cannot make the link ${links[i]}: $reason"
    made_links+=("${links[i]}")
    restore_selinux_labels "${links[i]}"
  done
}

switch_to_version() {
  local reason
  place_links
  if [[ $version != "$current" ]]; then
    reason=$(put_link "versions/$version" "$base/current" 2>&1) || fail write-failed "cannot switch $base/current: $reason"
  fi
  switched=yes
}

# ---- putting it to use ---------------------------------------------------------------------------

test_configurations() {
  local unit
  for unit in $ReloadServices; do
    configuration_is_good "$unit" ||
      fail config-test-failed "the configuration test of $unit failed: $(first_complaint "$test_output")"
  done
}

configuration_is_good() { # systemd unit → test_output
  local haproxy_files=(-f "$ROOT/etc/haproxy/haproxy.cfg")
  [[ ! -d $ROOT/etc/haproxy/conf.d ]] || haproxy_files+=(-f "$ROOT/etc/haproxy/conf.d")
  case $(config_test_tool "$1") in
    nginx) test_output=$(timeout 60 nginx -t 2>&1) ;;
    apachectl) test_output=$(timeout 60 apachectl configtest 2>&1) ;;
    haproxy) test_output=$(timeout 60 haproxy -c "${haproxy_files[@]}" 2>&1) ;;
  esac
}

first_complaint() { # output of a configuration test → its most telling line
  local line
  say_lines "$1" >&2
  while IFS= read -r line; do
    case $line in *emerg* | *ALERT* | *rror*) break ;; esac
  done < <(printf '%s\n' "$1")
  printf '%s' "${line:-${1##*$'\n'}}"
}

run_hooks() {
  local hook
  for hook in ${hooks[@]+"${hooks[@]}"}; do
    say "hook $hook"
    services_touched=yes
    run_hook "$hook" || fail hook-failed "hook $hook failed with exit status $?"
    hooks_done+=("$hook")
  done
}

run_hook() { # path; with the environment that certbot gives to its deploy hooks
  RENEWED_LINEAGE=$base/current RENEWED_DOMAINS=${names[*]} timeout 300 "$1" </dev/null >&2 3>&- 8>&- 9>&-
}

reload_services() {
  local unit
  for unit in $ReloadServices; do
    services_touched=yes
    reload_service "$unit" || fail reload-failed "systemctl reload $unit failed: $reload_output"
  done
}

reload_service() { # systemd unit: reload, never restart
  reload_output=$(timeout 120 systemctl reload "$1" 2>&1 3>&- 8>&- 9>&-) || return 1
  systemctl is-active --quiet "$1" || { reload_output='it stopped running'; return 1; }
}

# The certificate that the port serves now, for the first of our names (or any, if one is given) → served
ask_port() { # host, name
  served=''
  split_certificates "$(timeout 5 openssl s_client -connect "$1:$VerifyPort" -servername "$2" </dev/null 2>/dev/null || true)"
  served=${CERTIFICATES[0]-}
}

# Which names a server answers with this certificate is its own affair: one of them is enough. A
# wildcard stands for names that only the server knows; www is the likeliest.
port_serves() { # certificates, any of which will do
  local host name
  for name in "${names[@]/#\*./www.}"; do
    for host in 127.0.0.1 '[::1]'; do
      ask_port "$host" "$name"
      [[ -n $served ]] || continue
      [[ " $* " != *"$served"* ]] || return 0
    done
  done
  return 1
}

port_comes_to_serve() { # certificates; a reload takes its time: 10 s in all, longer where the port does not answer
  local try
  for try in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
    ! port_serves "$@" || return 0
    ((SECONDS < verify_until)) || return 1
    sleep "$((try / 10)).$((try % 10))"
  done
  return 1
}

note_what_is_served() {
  served_before=''
  ((VerifyPort != 0)) || return 0
  ask_port 127.0.0.1 "${names[0]/#\*./www.}"
  served_before=$served
}

verify_port() {
  ((VerifyPort != 0)) || return 0
  verify_until=$((SECONDS + 60))
  port_comes_to_serve "$leaf" || fail not-served "port $VerifyPort $(describe_served), not serial $serial"
}

describe_served() {
  local found
  [[ -n $served ]] || { echo 'serves no certificate'; return; }
  found=$(printf '%s\n' "$served" | openssl x509 -noout -serial)
  found=${found#serial=}
  printf 'serves serial %s' "${found,,}"
}

# ---- the way back --------------------------------------------------------------------------------

take_the_way_back() {
  say "switching back to ${previous:-no certificate}"
  if way_back && way_back_is_proved; then
    outcome=rolled-back
  else
    error="the way back failed ($way_back_error) after $fault: $error"
    fault=way-back-failed
  fi
}

way_back() {
  local hook unit
  if [[ -n $previous ]]; then
    way_back_error="cannot switch $base/current"
    put_link "versions/$previous" "$base/current" || return 1
  else
    way_back_error='cannot remove the links'
    rm -f -- "$base/current" ${made_links[@]+"${made_links[@]}"} || return 1
  fi
  [[ -z $staged ]] || rm -rf -- "$staged"
  [[ -n $services_touched ]] || return 0
  if [[ -n $previous ]]; then # hooks that copied the new certificate elsewhere now copy the old one
    for hook in ${hooks_done[@]+"${hooks_done[@]}"}; do
      way_back_error="hook $hook failed"
      run_hook "$hook" || return 1
    done
  fi
  for unit in $ReloadServices; do
    way_back_error="systemctl reload $unit failed"
    reload_service "$unit" || [[ -z $previous ]] || return 1
  done
}

way_back_is_proved() {
  local unit old=''
  for unit in $ReloadServices; do
    way_back_error="$unit is not running"
    systemctl is-active --quiet "$unit" || return 1
  done
  [[ -n $served_before ]] || return 0
  way_back_error="port $VerifyPort does not serve what it served before"
  [[ -z $previous ]] || old=$(<"$base/versions/$previous/cert.pem")
  verify_until=$((SECONDS + 60))
  port_comes_to_serve "$served_before" "$old"
}

# ---- completing ----------------------------------------------------------------------------------

mark_completed() {
  local reason
  reason=$({ rm -f -- "$base/current/.completed" && : >"$base/current/.completed"; } 2>&1) ||
    fail write-failed "cannot write $base/current/.completed: $reason"
  outcome=installed
}

# Keeps the last three versions, among them the present and the previous one, and none that was left half-made.
remove_old_versions() {
  local folder kept=0
  while read -r _ folder; do
    if [[ $folder == "$version" || $folder == "$previous" ]]; then continue; fi
    if [[ -e $base/versions/$folder/.completed ]] && ((++kept <= 1)); then continue; fi
    rm -rf -- "$base/versions/$folder" || say "cannot remove $base/versions/$folder"
  done < <(cd -- "$base/versions" && for folder in *; do printf '%s %s\n' "${folder##*-}" "$folder"; done | sort -rn)
}

# ---- the steps -----------------------------------------------------------------------------------

main() {
  open_channels

  step check-parameters
  read_parameters
  step check-tools
  check_tools
  enter_private_mounts "$@"
  step take-lock
  lock_this_node

  step check-installed
  read_what_is_installed
  check_owner
  refuse_lower_rollout
  if is_unchanged; then
    record_rollout
    result_serial=${current%-*} outcome=unchanged
    return
  fi

  step read-bundle
  use_the_nodes_own_role
  read_bundle
  parse_bundle
  step verify-certificate
  read_certificate
  step verify-pair
  check_key_belongs_to_certificate
  step verify-chain
  check_chain

  step check-node
  cover_folders_with_memory
  record_rollout
  check_paths
  check_hooks
  check_services
  note_what_is_served
  step stage
  stage_version
  step switch
  switch_to_version
  step test-config
  test_configurations
  if [[ $DryRun == true ]]; then
    outcome=dry-run-passed
    return
  fi
  [[ -z $dead_service ]] || fail service-not-running \
    "$dead_service is not running; the files of this first installation are in place, start it and the next run completes"

  step run-hooks
  run_hooks
  step reload
  reload_services
  step verify-port
  verify_port
  step complete
  mark_completed
  step remove-old-versions
  remove_old_versions
}

main "$@"
