#!/bin/bash
# Installs one version of one certificate on this node, as root, started by the SSM Agent.
#
# The promise: the services of this node serve either the certificate they served before, or the new
# one, whole. All files change by one rename; whatever goes wrong after it, the rename is undone, the
# services are reloaded again, and that is proved. Start reading at main, at the end.
#
# Input    environment variables SSM_<parameter>, set by the agent from the document's parameters
# Output   standard output: one line of JSON, the result; standard error and the journal: what was done
# Exit     0, or the code of the fault: see EXIT_CODE below, explained in README.md beside this file
# Needs    bash 4.2, openssl 1.0.2, coreutils, util-linux, AWS CLI 1 or 2
#
# The key and its passphrase live in variables of this shell, are never exported, and reach openssl
# through pipes only. No here-documents or here-strings: bash writes those to temporary files.
#
# The copy in member-account.yaml is rendered without comments: change this file, then `make render`.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # if a plain sh was started

set -euo pipefail -o errtrace -o noclobber
export LC_ALL=C HOME="${HOME:-/root}" AWS_PAGER='' RANDFILE=/dev/null
ulimit -c 0 # a core file would hold the key
unset BUNDLE FIELD PASSPHRASE ENCRYPTED_KEY PRIVATE_KEY # what was exported would stay exported

# 194 would make the agent reboot the node; what is above 125 belongs to the shell.
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
SSL=$ROOT/etc/ssl
HOOKS=$ROOT/etc/acm-export/hooks.d

CorrelationId='' CertName='' DeploymentId='' RolloutNumber=0 VersionId='' SecretArn='' DryRun=''
ReloadServices='' VerifyPort=0 KeyFormat='' ExtraFormats='' KeyMode='' KeyGroup=''
outcome='' fault='' error='' current='' current_step=start line_of_fault='' result_serial=''
staged='' switched='' dead_service='' services_touched='' hooks=() hooks_done=()

# ---- telling what happens ------------------------------------------------------------------------

# Always in a subshell, which becomes openssl. Nothing here is judged by the node's trusted roots, and to load them
# takes openssl longer than all the rest. Give it <(...) to read: standard input it reads byte by byte.
exec_openssl() {
  SSL_CERT_FILE=/dev/null exec openssl "$@"
}

say() {
  local line="CorrelationId=$CorrelationId CertName=$CertName $*"
  printf '%s\n' "$line" >&2
  [[ -n ${journal:-} ]] || return 0
  trap '' PIPE # a journal that is gone must not end the installation
  printf '%s\n' "$line" >&8 2>/dev/null || journal=''
  trap - PIPE
}

say_lines() { # what a command printed
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

must() { # what for, command: if the command fails, so does the installation
  local reason
  declare -F "$2" >/dev/null || set -- "$1" exec "${@:2}" # the subshell becomes the command: one process less
  reason=$("${@:2}" 2>&1) || fail write-failed "cannot $1: $reason"
}

plain_text() { # makes any text one line of plain characters that are safe inside a JSON string
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
    "$outcome" "$1" "$result_serial" "$VersionId" "$RolloutNumber" "$DeploymentId" "$CertName" "$CorrelationId" "$failure" >&3
}

# Runs however the script ends, except by kill -9: takes the way back if one is due, then reports.
finish() {
  local code=$?
  trap - EXIT ERR
  trap '' HUP INT TERM
  set +e
  if ((code != 0)); then
    [[ -n $fault ]] || { fault=unexpected error="the script itself failed at line $line_of_fault"; }
    say "fault $fault: $error"
    outcome=failed
    if [[ -z $switched ]]; then
      discard_staged_files
    elif [[ $fault != service-not-running && $DryRun == false ]]; then
      take_the_way_back
    fi
    code=${EXIT_CODE[$fault]}
  fi
  say "outcome $outcome, exit code $code"
  report "$code"
  exit "$code"
}

open_channels() {
  [[ ! ${SSM_CorrelationId-} =~ ^[A-Za-z0-9-]{1,64}$ ]] || CorrelationId=$SSM_CorrelationId
  exec 3>&1 1>&2 # from here on only report writes to standard output
  if command -v logger >/dev/null; then
    exec 8> >(exec logger -t acm-export >/dev/null 2>&1 3>&-)
    journal=open
  fi
  trap finish EXIT
  trap 'line_of_fault=$LINENO' ERR
  trap 'fail interrupted "a signal ended the installation"' HUP INT TERM
}

# ---- parameters and tools ------------------------------------------------------------------------

# The document checks the same patterns; this script does not rely on who started it.
take_parameter() { # name, pattern, default (without one the parameter is required)
  local variable=SSM_$1
  if [[ -z ${!variable+set} && $# -lt 3 ]]; then
    fail agent-too-old "$variable is not set: the SSM Agent is older than 3.3.2746.0, update it"
  fi
  local given=${!variable-${3-}}
  [[ $given =~ ^($2)$ ]] || fail bad-parameter "parameter $1 does not have its form"
  printf -v "$1" '%s' "$given"
}

read_parameters() {
  local unit='[A-Za-z0-9][A-Za-z0-9:_.@-]*'
  take_parameter CorrelationId '[A-Za-z0-9-]{1,64}'
  take_parameter CertName '[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?'
  take_parameter DeploymentId '[a-f0-9]{24}'
  take_parameter RolloutNumber '0|[1-9][0-9]{0,14}'
  take_parameter VersionId '[a-f0-9]{64}'
  take_parameter SecretArn 'arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+'
  take_parameter ReloadServices "($unit( $unit){0,4})?" ''
  take_parameter VerifyPort '0|[1-9][0-9]{0,4}' 0
  take_parameter KeyFormat 'decrypted|encrypted' decrypted
  take_parameter ExtraFormats '((combined-pem|pkcs12)( (combined-pem|pkcs12))?)?' ''
  take_parameter KeyMode '(0600|0640|0400|0440)?' ''
  take_parameter KeyGroup '([a-z_][a-z0-9_-]{0,31})?' ''
  take_parameter DryRun 'true|false' false
  [[ $CertName != *..* ]] || fail bad-parameter 'parameter CertName holds two dots in a row'
  ((VerifyPort <= 65535)) || fail bad-parameter 'parameter VerifyPort is above 65535'
  options="$DeploymentId $VersionId|$ReloadServices|$VerifyPort|$KeyFormat|$ExtraFormats|$KeyMode|$KeyGroup"

  base=$SSL/acm-export/$CertName versions=$SSL/acm-export/$CertName/versions
  links=("$SSL/certs/$CertName-fullchain.pem" "$SSL/certs/$CertName-chain.pem" "$SSL/private/$CertName-privkey.pem")
  files=(fullchain.pem chain.pem privkey.pem) # links[i] leads to files[i] of the version that is switched on
  [[ $ExtraFormats != *combined-pem* ]] || { links+=("$SSL/private/$CertName-combined.pem") files+=(combined.pem); }
  [[ $ExtraFormats != *pkcs12* ]] || { links+=("$SSL/private/$CertName.p12") files+=(bundle.p12); }
}

config_tester() { # systemd unit: prints the command that tests its configuration, if one is known
  case ${1%.service} in
    nginx) echo nginx ;;
    httpd | apache2) echo apachectl ;;
    haproxy) echo haproxy ;;
  esac
}

check_tools() {
  local unit tool missing=''
  local tools='aws chgrp chmod chown cp dirname flock ln mkdir mv openssl readlink rm sha256sum sleep stat sync timeout'
  for unit in $ReloadServices; do
    tools+=" systemctl $(config_tester "$unit")"
  done
  [[ $DryRun == false ]] || tools+=' mount unshare'
  for tool in $tools; do
    type -P "$tool" >/dev/null || missing+=" $tool"
  done
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 402)) || missing+=' bash-4.2'
  [[ -z $missing ]] || fail missing-tool "this node lacks$missing"
}

# ---- one installation at a time ------------------------------------------------------------------

only_roots() { # paths: they belong to root (in tests: to who runs them), and nobody else can write to them
  local facts owner_and_mode
  facts=$(exec stat -L -c %u-%a "$@") || return 1
  for owner_and_mode in $facts; do
    ((${owner_and_mode%-*} == EUID && !(8#${owner_and_mode#*-} & 8#022))) || return 1
  done
}

check_own_folders() { # paths: those that exist must be folders, not links to some, and only root's
  local folder folders=()
  for folder in "$@"; do
    [[ ! -L $folder ]] || fail path-refused "$folder is a symbolic link"
    [[ ! -e $folder ]] || folders+=("$folder/")
  done
  ((${#folders[@]} == 0)) || only_roots "${folders[@]}" || fail path-refused "only root may own and write to ${folders[*]}"
}

# One lock for the node, not one per certificate: a configuration test reads all certificates of a
# service, and must not meet another one in the middle of its switch.
lock_this_node() {
  check_own_folders "$RUN" "$SSL/acm-export" "$base" "$versions"
  [[ -d $RUN ]] || must "make $RUN" mkdir -p "$RUN"
  [[ ! -L $RUN/lock && ! -L $RUN/aws-error ]] || fail path-refused "$RUN holds a symbolic link"
  exec 9>>"$RUN/lock"
  flock -w 300 9 || fail busy 'another installation holds the lock'
}

# ---- dry run -------------------------------------------------------------------------------------

# A dry run does the real steps, up to the configuration test, in a mount namespace of its own where
# memory covers /etc/ssl: nothing reaches the disk, and all of it vanishes when the script ends.
enter_private_mounts() { # the script's own arguments
  [[ $DryRun == true && ${1-} != --in-private-mounts ]] || return 0
  if unshare -m true 2>/dev/null; then
    exec 1>&3 3>&- 8>&-
    exec unshare -m "$BASH" "$0" --in-private-mounts
  fi
  mounts_refused=yes
}

cover_folders_with_memory() {
  [[ $DryRun == true && -z ${mounts_refused-} ]] || return 0
  must 'mount in private' mount --make-rprivate / # systemd shares mounts: the whole node would see these
  check_own_folders "$RUN/dry-run"
  must "make $RUN/dry-run" mkdir -p "$RUN/dry-run"
  must 'mount memory' mount -t tmpfs -o mode=0700 tmpfs "$RUN/dry-run"
  must "make $SSL" mkdir -p "$SSL" # what is not there cannot be covered
  cover_with_memory "$SSL" ssl
  cover_with_memory "$SSL/certs" certs # on some distributions a link to elsewhere
  cover_with_memory "$SSL/private" private
}

cover_with_memory() { # folder, name of its copy
  [[ -d $1 ]] || return 0
  local folder
  folder=$(readlink -f "$1")
  must "copy $1" cp -a "$folder" "$RUN/dry-run/$2"
  must "cover $1" mount --bind "$RUN/dry-run/$2" "$folder"
}

refuse_dry_run_on_disk() {
  [[ -z ${mounts_refused-} ]] || fail dry-run-impossible \
    'this node refuses unshare -m: the certificate is right, the rest was not tried'
}

# ---- what is installed already -------------------------------------------------------------------

# current: the name of the version that is switched on. The record: owner, highest rollout, version before.
read_what_is_installed() {
  local folder line=''
  current='' recorded_owner='' recorded_number=0 recorded_previous=''
  for folder in "$versions"/*; do
    [[ ! $folder =~ /[0-9a-f]+-[0-9]+(\.again)?$ || -L $folder || ! $folder -ef $base/current ]] || current=${folder##*/}
  done
  [[ -n $current || ! -e $base/current ]] || fail path-refused "$base/current is not a link of this script"
  [[ ! -L $base/record ]] || fail path-refused "$base/record is a symbolic link"
  [[ -e $base/record ]] || return 0
  read -r line <"$base/record" || true
  [[ $line =~ ^([0-9a-f]{24})\ ([0-9]{1,15})\ ([^ ]+)$ ]] || fail path-refused "$base/record is damaged: remove it to go on"
  recorded_owner=${BASH_REMATCH[1]} recorded_number=${BASH_REMATCH[2]} recorded_previous=${BASH_REMATCH[3]}
}

check_owner() {
  [[ -z $recorded_owner || $recorded_owner == "$DeploymentId" ]] || fail owned-by-another \
    "$CertName belongs to deployment $recorded_owner here; if that is gone for good, remove $base/record"
}

refuse_lower_rollout() {
  ((RolloutNumber >= recorded_number)) || fail rollout-superseded \
    "this node has seen rollout $recorded_number, which is later than $RolloutNumber"
}

is_unchanged() {
  local i installed_options='' mode group
  [[ $DryRun == false && -n $current && -e $base/current/.completed ]] || return 1
  read -r installed_options <"$base/current/.options" || return 1
  [[ $installed_options == "$options" ]] || return 1
  for ((i = 0; i < ${#links[@]}; i++)); do
    [[ -L ${links[i]} && ${links[i]} -ef $base/current/${files[i]} ]] || return 1
  done
  if [[ -n $KeyMode$KeyGroup ]]; then
    read -r mode group < <(exec stat -c '0%a %G' "$base/current/privkey.pem") || return 1
    [[ ${KeyMode:-$mode} == "$mode" && ${KeyGroup:-$group} == "$group" ]] || return 1
  fi
  (cd "$base/current" && exec sha256sum --status -c .sha256) 2>/dev/null
}

# Must reach the disk before anything is switched: a rollout that comes late must find it, even after a crash.
record_rollout() {
  previous=$current
  [[ $current != *-$RolloutNumber && $current != *-$RolloutNumber.again ]] || previous=$recorded_previous # cut off before
  [[ -d $versions/$previous ]] || previous=''
  local line="$DeploymentId $RolloutNumber ${previous:--}"
  [[ $line == "$recorded_owner $recorded_number $recorded_previous" ]] || must "write $base/record" write_record "$line"
}

remove_left_over() { # path: of a run that was cut off
  [[ ! -e $1 && ! -L $1 ]] || rm -rf "$1"
}

write_record() { # line
  umask 022
  { [[ -d $versions ]] || mkdir -p "$versions"; } &&
    remove_left_over "$base/.record.new" &&
    printf '%s\n' "$1" >"$base/.record.new" &&
    sync "$base/.record.new" &&
    exec mv -f "$base/.record.new" "$base/record"
}

# ---- reading the bundle --------------------------------------------------------------------------

# The bundle is for the node's own role, whose tag opens it: not for what lies configured in root's home,
# and not for the account-wide role that the agent hands to scripts under Default Host Management. Only a
# hybrid node has its own role in a file, /root/.aws/credentials.
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
  local region=${SecretArn#arn:*:secretsmanager:} try
  for try in 1 2 3 4 5; do
    if BUNDLE=$(exec timeout 60 aws secretsmanager get-secret-value --secret-id "$SecretArn" --version-id "$VersionId" \
      --region "${region%%:*}" --query SecretString --output text 2>|"$RUN/aws-error"); then
      return
    fi
    explain_aws_error "$(<"$RUN/aws-error")"
    [[ $bundle_fault == bundle-throttled || $bundle_fault == bundle-network ]] || break
    ((try == 5)) || sleep "$((2 ** try)).$((RANDOM % 10))" # 2, 4, 8, 16 s, and not all nodes at once
  done
  fail "$bundle_fault" "$bundle_error"
}

explain_aws_error() { # what the AWS CLI wrote to standard error: sets bundle_fault and bundle_error
  local role="this node's role"
  say_lines "$1"
  [[ ! $1 =~ assumed-role/([A-Za-z0-9+=,.@_-]+)/ ]] || role="role ${BASH_REMATCH[1]}"
  case $1 in
    *AccessDenied* | *'not authorized'*)
      bundle_fault=bundle-denied
      bundle_error="$role may not read the bundle. Most often the node is tagged and its role is not: give the role the same tag, and the read-bundle policy" ;;
    *'locate credentials'* | *Token* | *UnrecognizedClient*)
      bundle_fault=bundle-denied
      bundle_error='this node has no valid credentials: it needs an instance profile, or a hybrid activation role' ;;
    *Throttl* | *TooManyRequests* | *'ate exceeded'* | *LimitExceeded*)
      bundle_fault=bundle-throttled bundle_error='Secrets Manager throttled five tries' ;;
    *ResourceNotFound* | *'marked '*)
      bundle_fault=bundle-not-found bundle_error='this version of the bundle is gone: start a new rollout' ;;
    '' | *onnect* | *imeout* | *'timed out'* | *'esolution'* | *SSL* | *roxy* | *InternalService* | *Unavailable*)
      bundle_fault=bundle-network bundle_error="five tries did not reach Secrets Manager: $1" ;;
    *)
      bundle_fault=bundle-unreadable bundle_error="the AWS CLI cannot read the bundle: $1" ;;
  esac
}

# The bundle is a flat JSON object of strings, and jq is not on every node. Control characters cannot stand
# in JSON, so two of them mark escaped backslashes and quotes: every quote that is left begins or ends a string.
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

# Keeps the certificates and drops what stands around them: not every server reads past such text.
split_certificates() { # text: sets CERTIFICATES
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
  local text found name IFS=', '
  text=$(exec_openssl x509 -noout -serial -text -in <(printf '%s\n' "$leaf") 2>/dev/null) ||
    fail certificate-invalid 'openssl cannot read the certificate'
  found=${text#*serial=}
  found=${found%%$'\n'*}
  found=${found,,}
  [[ ${found#"${found%%[!0]*}"} == "${serial#"${serial%%[!0]*}"}" ]] || # but for leading zeros
    fail certificate-invalid "the certificate has serial $found, not $serial as the bundle says"
  public_key_of "${text%%X509v3 extensions:*}"
  certificate_public_key=$public_key
  names=()
  text=${text##*Subject Alternative Name:}
  text=${text#*$'\n'} # the names are on the next line
  set -f # a wildcard name is no pattern for files
  for name in ${text%%$'\n'*}; do
    [[ ! $name =~ ^DNS:((\*\.)?[A-Za-z0-9._-]+)$ ]] || names+=("${BASH_REMATCH[1]}")
  done
  set +f
  ((${#names[@]} > 0)) || fail certificate-invalid 'the certificate is for no DNS name'
}

check_key_belongs_to_certificate() {
  local text
  text=$(exec_openssl pkey -text_pub -in <(printf '%s\n' "$ENCRYPTED_KEY") \
    -passin fd:4 4< <(printf '%s\n' "$PASSPHRASE") 2>/dev/null) ||
    fail key-unreadable 'the passphrase in the bundle does not open the private key'
  PRIVATE_KEY=${text%%-----END PRIVATE KEY*}'-----END PRIVATE KEY-----'
  public_key_of "$text"
  [[ $public_key == "$certificate_public_key" ]] || fail key-mismatch 'the private key belongs to another certificate'
}

public_key_of() { # what openssl prints of a certificate or a key: sets public_key to its numbers, without blanks
  public_key=${1##*Public-Key:}
  public_key=${public_key//[[:space:]]/}
}

# Each certificate must be signed by the one that follows: servers send them in this order.
check_chain() {
  local path=("$leaf" "${chain[@]}") i
  for ((i = 0; i + 1 < ${#path[@]}; i++)); do
    check_signed_by_next "${path[i]}" "${path[i + 1]}" "$i"
  done
}

check_signed_by_next() { # certificate, the one that follows, position (0 is the leaf)
  local said which="certificate $3 of the chain"
  [[ $3 != 0 ]] || which='the certificate'
  [[ ${1//$'\n'/} != "${2//$'\n'/}" ]] || fail chain-invalid "$which stands there twice"
  said=$(exec_openssl verify -partial_chain -trusted <(printf '%s\n' "$2") <(printf '%s\n' "$1") 2>&1) || true
  # The text decides: the oldest openssl says OK, and exits so, after an error on dates.
  if [[ $said =~ error\ ([0-9]+)\ at\ ([0-9]+)\ depth ]]; then
    case ${BASH_REMATCH[1]}-${BASH_REMATCH[2]}-$3 in
      10-0-0) fail certificate-expired "the certificate has expired by this node's clock" ;;
      9-0-0) fail certificate-not-yet-valid "the certificate is not yet valid by this node's clock" ;;
      10-*) fail chain-invalid "$which or the next one has expired" ;;
    esac
    fail chain-invalid "$which is not issued by the next one: wrong order, or one is missing"
  fi
  [[ $said == *OK* ]] || fail chain-invalid "openssl cannot verify $which"
}

# ---- checking this node --------------------------------------------------------------------------

# Where our links go there may be nothing, or our own links. Anything else is somebody's work.
check_paths() {
  local i folder folders=() found=() expected=''
  for folder in "$SSL/certs" "$SSL/private"; do # on some distributions a link, which must lead to a folder of root
    [[ ! -e $folder && ! -L $folder ]] || folders+=("$folder/")
  done
  ((${#folders[@]} == 0)) || only_roots "${folders[@]}" ||
    fail path-refused "only root may own and write to ${folders[*]}"
  adopt_original_files
  for ((i = 0; i < ${#links[@]}; i++)); do
    [[ -e ${links[i]} || -L ${links[i]} ]] || continue
    if [[ ! -L ${links[i]} ]]; then
      is_adopted "$i" && continue
      fail path-refused "${links[i]} is no link of this script: move it away, then start a new rollout"
    fi
    found+=("${links[i]}") expected+=${expected:+$'\n'}$base/current/${files[i]}
  done
  ((${#found[@]} == 0)) || [[ $(exec readlink "${found[@]}") == "$expected" ]] || fail path-refused \
    "one of ${found[*]} is no link of this script: move it away, then start a new rollout"
}

# The sample that this project replaces leaves plain files at the same paths, and so may an administrator who
# wants a server to start before its first certificate comes. If all three are there, root's, and a key with its
# certificate, they become the first version: nothing that is served changes, and there is a way back to it.
adopt_original_files() {
  local first=$versions/00-0 file i
  [[ -z $current ]] || return 0
  for file in "${links[@]:0:3}"; do
    [[ -f $file && ! -L $file ]] || return 0
  done
  only_roots "${links[@]:0:3}" || return 0
  [[ $(exec_openssl x509 -noout -pubkey -in "${links[0]}" 2>&1) == "$(exec_openssl pkey -pubout -in "${links[2]}" -passin pass: 2>&1)" ]] || return 0
  say 'adopting the files in place'
  must "make $first" mkdir -p "$first"
  for i in 0 1 2; do
    must "copy ${links[i]}" cp -p "${links[i]}" "$first/${files[i]}"
  done
  must "write $first" sync "$first"/* "$first"
  must "make $base/current" put_link versions/00-0 "$base/current"
  current=00-0
}

is_adopted() { # index of a link: a copy of the plain file in its place is in use as the first version
  [[ $current == 00-0 && -f ${links[$1]} && $(<"${links[$1]}") == "$(<"$base/current/${files[$1]}")" ]]
}

# Hooks as certbot has them: executable files, in byte order, none whose name ends in ~.
check_hooks() {
  local hook
  [[ -d $HOOKS ]] || return 0
  for hook in "$HOOKS"/*; do
    [[ -f $hook && -x $hook && $hook != *~ ]] || continue
    only_roots "$HOOKS" "$hook" "$(dirname "$(readlink -f "$hook")")" ||
      fail hook-refused "only root may own and write to hook $hook and its folder"
    hooks+=("$hook")
  done
}

# A reload cannot revive a dead service, and to start one is not ours to decide. Where a certificate was
# installed before, nothing is changed. The first one is put in place all the same, as the service may be
# dead for want of it; the next run then completes the installation.
check_services() {
  local unit
  for unit in $ReloadServices; do
    systemctl is-active --quiet "$unit" && continue
    [[ -z $previous && $DryRun == false ]] ||
      fail service-not-running "$unit is not running: it cannot be reloaded, nothing was changed"
    dead_service=$unit
  done
}

stop_at_dead_service() {
  [[ -z $dead_service ]] || fail service-not-running \
    "$dead_service is not running: the files are in place, start it, the next rollout completes"
}

# ---- staging -------------------------------------------------------------------------------------

stage_version() {
  version=$serial-$RolloutNumber
  [[ $version != "$current" ]] || version+=.again # a rollout that was cut off; a folder in use is never written to
  determine_key_access
  staged=$versions/$version
  must "write $staged" write_version
  give_key_access
  restore_selinux_labels "$base"
  must "write $staged" sync "$staged"/* "$staged"/.[os]* "$staged" "$versions" "$base"
}

write_version() {
  local fullchain
  printf -v fullchain '%s\n' "$leaf" "${chain[@]}"
  umask 022
  remove_left_over "$staged" &&
    mkdir "$staged" &&
    cd "$staged" &&
    printf '%s\n' "$leaf" >cert.pem &&
    printf '%s\n' "${chain[@]}" >chain.pem &&
    printf '%s' "$fullchain" >fullchain.pem &&
    printf '%s\n' "SecretArn=$SecretArn" "VersionId=$VersionId" >bundle-reference &&
    umask 077 &&
    printf '%s\n' "$options" >.options &&
    if [[ $KeyFormat == encrypted ]]; then PRIVATE_KEY=$ENCRYPTED_KEY; fi &&
    printf '%s\n' "$PRIVATE_KEY" >privkey.pem &&
    if [[ $ExtraFormats == *combined-pem* ]]; then printf '%s\n' "$fullchain$PRIVATE_KEY" >combined.pem; fi &&
    if [[ $ExtraFormats == *pkcs12* ]]; then (write_pkcs12 "$fullchain"); fi &&
    sha256sum ./*.* >.sha256
}

write_pkcs12() { # full chain; the algorithms are OpenSSL 3's own: what older ones choose, it no longer reads
  exec_openssl pkcs12 -export -name "$CertName" -out bundle.p12 -in <(printf '%s\n' "$1") \
    -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256 \
    -inkey <(printf '%s\n' "$ENCRYPTED_KEY") -passin fd:4 -passout fd:5 \
    4< <(printf '%s\n' "$PASSPHRASE") 5< <(printf '%s\n' "$PASSPHRASE")
}

# As asked for, else as found on the key that is in place, else 0600 and root.
determine_key_access() {
  local found_mode=600
  key_owner=0:0
  [[ ! -f $base/current/privkey.pem ]] ||
    read -r found_mode key_owner < <(exec stat -c '%a %u:%g' "$base/current/privkey.pem")
  printf -v key_mode '0%o' "$((8#$found_mode & 8#640))" # never for everybody, never for a group to write
  key_mode=${KeyMode:-$key_mode}
}

give_key_access() {
  local key
  for key in privkey.pem combined.pem bundle.p12; do
    [[ -f $staged/$key ]] || continue
    [[ $key_owner == 0:0 ]] || must 'keep the owner of the key' chown "$key_owner" "$staged/$key"
    [[ -z $KeyGroup ]] || must "give the key to group $KeyGroup" chgrp "$KeyGroup" "$staged/$key"
    [[ $key_mode == 0600 ]] || must 'set the mode of the key' chmod "$key_mode" "$staged/$key"
  done
}

restore_selinux_labels() { # path
  if [[ -e $ROOT/sys/fs/selinux/enforce ]] && command -v restorecon >/dev/null; then
    must 'restore the SELinux labels' restorecon -R "$1"
  fi
}

discard_staged_files() {
  [[ -n $staged ]] || return 0
  rm -rf "$staged"
  remove_dangling "${links[@]}"
}

remove_dangling() { # links: those of ours that lead nowhere
  local link
  for link in "$@"; do
    [[ ! -L $link || -e $link || $(readlink "$link") != "$base/current/"* ]] || rm -f "$link"
  done
}

# ---- switching -----------------------------------------------------------------------------------

put_link() { # target, link: in one rename, so that nobody ever finds it missing
  local new=${2%/*}/.acm-export-new.$CertName
  remove_left_over "$new" && ln -s "$1" "$new" && mv -T -f "$new" "$2"
}

# The links lead through current, so they are made once, and the one rename of current switches them all.
switch_to_version() {
  local i folder
  for ((i = 0; i < ${#links[@]}; i++)); do
    [[ ! -L ${links[i]} ]] || continue
    folder=${links[i]%/*} # private cannot be listed, but a group that may read a key gets to it
    [[ -d $folder ]] || must "make $folder" mkdir -m "$([[ $folder == */private ]] && echo 0711 || echo 0755)" "$folder"
    must "make ${links[i]}" put_link "$base/current/${files[i]}" "${links[i]}"
    restore_selinux_labels "${links[i]}"
  done
  must "switch $base/current" put_link "versions/$version" "$base/current"
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

configuration_is_good() { # systemd unit: sets test_output
  local haproxy_files=(-f "$ROOT/etc/haproxy/haproxy.cfg")
  [[ ! -d $ROOT/etc/haproxy/conf.d ]] || haproxy_files+=(-f "$ROOT/etc/haproxy/conf.d")
  case $(config_tester "$1") in
    nginx) test_output=$(timeout 60 nginx -t 2>&1) ;;
    apachectl) test_output=$(timeout 60 apachectl configtest 2>&1) ;;
    haproxy) test_output=$(timeout 60 haproxy -c "${haproxy_files[@]}" 2>&1) ;;
  esac
}

first_complaint() { # output of a configuration test: prints its most telling line
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

run_hook() { # path; certbot gives its deploy hooks the same two variables
  RENEWED_LINEAGE=$base/current RENEWED_DOMAINS=${names[*]} timeout 300 "$1" </dev/null 3>&- 8>&- 9>&-
}

reload_services() {
  local unit
  for unit in $ReloadServices; do
    services_touched=yes
    reload_service "$unit" || fail reload-failed "the reload of $unit failed: $reload_output"
  done
}

reload_service() { # systemd unit; a reload, never a restart: sets reload_output
  reload_output=$(exec timeout 120 systemctl reload "$1" 2>&1 3>&- 8>&- 9>&-) || return 1
  reload_output='it stopped running'
  systemctl is-active --quiet "$1"
}

verify_port() {
  ((VerifyPort != 0)) || return 0
  port_comes_to_serve "$leaf" || fail not-served "port $VerifyPort $(describe_served), not serial $serial"
}

# A reload takes its time, here ten seconds at most. Twice in a row: nginx lets old and new processes accept
# side by side for 0.1 s.
port_comes_to_serve() { # certificates, any of which will do
  local pause in_a_row=0
  for pause in 0.03 0.05 0.1 0.2 0.3 0.5 1 2 3 3 0; do
    if port_serves "$@"; then
      ((++in_a_row < 2)) || return 0
      sleep 0.15
    else
      in_a_row=0
      sleep "$pause"
    fi
  done
  return 1
}

# Which of the names a server answers with this certificate is its own affair: one is enough. A wildcard
# stands for names that only the server knows; www is the likeliest.
port_serves() { # certificates, any of which will do
  local name
  for name in "${names[@]/#\*./www.}"; do
    ask_port "$name"
    [[ -z $served || " $* " != *"$served"* ]] || return 0
  done
  return 1
}

ask_port() { # name: sets served to the certificate that the port serves for it
  split_certificates "$(SSL_CERT_FILE=/dev/null exec timeout 5 openssl s_client -connect "localhost:$VerifyPort" \
    -servername "$1" </dev/null 2>/dev/null)" || true
  served=${CERTIFICATES[0]-}
}

describe_served() {
  local number=no
  [[ -z $served ]] || number=$(printf '%s\n' "$served" | openssl x509 -noout -serial)
  number=${number#serial=}
  printf 'serves serial %s' "${number,,}"
}

# ---- the way back --------------------------------------------------------------------------------

note_what_is_served() {
  served_before=''
  ((VerifyPort == 0)) || ask_port "${names[0]/#\*./www.}"
  served_before=${served-}
}

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
  way_back_error='cannot switch'
  if [[ -n $previous ]]; then
    put_link "versions/$previous" "$base/current" || return 1
  else
    rm -f "$base/current" || return 1
  fi
  discard_staged_files
  [[ -n $services_touched ]] || return 0
  for hook in ${hooks_done[@]+"${hooks_done[@]}"}; do # a hook that copied the new certificate now copies the old one
    way_back_error="hook $hook failed"
    [[ -z $previous ]] || run_hook "$hook" || return 1
  done
  for unit in $ReloadServices; do # without a certificate there may be nothing to reload: running is all that counts then
    way_back_error="the reload of $unit failed"
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
  [[ -z $previous ]] || old=$(<"$versions/$previous/fullchain.pem")
  port_comes_to_serve "$served_before" "$old"
}

# ---- completing ----------------------------------------------------------------------------------

write_completion_marker() {
  : >"$base/current/.completed"
}

mark_completed() {
  must "write in $base/current" write_completion_marker
  outcome=installed
}

# Keeps three versions: the present, the previous and one more; none that was left half-made; and no link to a
# format that is no longer asked for.
remove_old_versions() {
  local folder newest='' newest_number=-1 old=()
  for folder in "$base"/versions/*; do
    folder=${folder##*/}
    [[ $folder != "$version" && $folder != "$previous" ]] || continue
    old+=("$versions/$folder")
    [[ $folder =~ -([0-9]+)(\.again)?$ && -e $versions/$folder/.completed ]] || continue
    ((BASH_REMATCH[1] <= newest_number)) || newest=$folder newest_number=${BASH_REMATCH[1]}
  done
  for folder in ${old[@]+"${old[@]}"}; do
    [[ ${folder##*/} == "$newest" ]] || rm -rf "$folder" || say "cannot remove $folder"
  done
  remove_dangling "$SSL/private/$CertName-combined.pem" "$SSL/private/$CertName.p12"
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
  cover_folders_with_memory

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
  refuse_dry_run_on_disk
  check_paths
  check_hooks
  record_rollout
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
  stop_at_dead_service

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
