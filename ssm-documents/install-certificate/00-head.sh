#!/bin/bash
# Installs one version of one certificate on this node, as root, started by the SSM Agent.
#
# The services of this node serve either the certificate they served before, or the new one, whole. One
# rename switches all files. Whatever goes wrong after it, the rename is undone, the services load the old
# files again, and that is proved. Start reading at main, at the end.
#
# Input    environment variables SSM_<parameter>, set by the agent
# Output   standard output: the result, one line of JSON; standard error and the journal: what was done
# Exit     0 or a code of EXIT_CODE, explained in ssm-documents/README.md
# Needs    bash 4.2, openssl 1.0.2, coreutils, util-linux, AWS CLI 1 or 2
#
# The key and its passphrase live in variables of this shell, are never exported, and reach openssl
# through pipes only. No here-documents or here-strings: bash writes those to temporary files.
#
# `make render` joins the parts into member-account.yaml.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # if a plain sh was started

# SHELLOPTS and BASHOPTS of the caller would change how all below is read, or print the key.
set +a +v +x +o posix
shopt -u failglob nullglob nocaseglob nocasematch dotglob
unset GLOBIGNORE
set -euo pipefail -o errtrace -o noclobber

# The caller decides nothing here, and hooks get back what was the caller's.
caller_umask=$(umask) caller_locale=${LC_ALL-}
umask 077
ulimit -c 0 # a core file would hold the key
export LC_ALL=C HOME="${HOME:-/root}"
unset BUNDLE FIELD PASSPHRASE ENCRYPTED_KEY PRIVATE_KEY # names stay exported

# 194 would make the agent reboot the node; codes above 125 belong to the shell.
declare -rA EXIT_CODE=(
  [unexpected]=1
  [agent-too-old]=10 [bad-parameter]=11 [missing-tool]=12 [busy]=13 [dry-run-impossible]=14
  [bundle-denied]=20 [bundle-throttled]=21 [bundle-network]=22 [bundle-not-found]=23
  [bundle-invalid]=24 [bundle-unreadable]=25
  [rollout-superseded]=30 [owned-by-another]=31 [path-refused]=32 [service-not-running]=33 [hook-refused]=34
  [reload-impossible]=35 [key-access-impossible]=36
  [certificate-invalid]=40 [certificate-expired]=41 [certificate-not-yet-valid]=42
  [key-unreadable]=43 [key-mismatch]=44 [chain-invalid]=45
  [write-failed]=50
  [config-test-failed]=60 [hook-failed]=61 [reload-failed]=62 [not-served]=63
  [way-back-failed]=70 [interrupted]=71
)

# Seconds of each phase. The agent kills the script after the 1,800 of install-on-node.yaml: the first three
# leave the way back its share of them. A test adds them up.
declare -rA BUDGET=([lock]=300 [prepare]=300 [use]=600 [way-back]=420)

# Seconds of one program, or what its phase has left. KILL is added for one that ignores SIGTERM.
declare -rA LIMIT=([file]=60 [sync]=120 [bundle]=60 [unit]=120 [config-test]=60 [hook]=300 [port]=5 [all-of-port]=30)
declare -r KILL=5

ROOT=${ACM_EXPORT_ROOT:-} # empty on a node; in tests a folder that stands for /
RUN=$ROOT/run/acm-export
SSL=$ROOT/etc/ssl
HOOKS=$ROOT/etc/acm-export/hooks.d
HOOKS_FOR_ALL_NAMES=$ROOT/etc/acm-export/hooks-for-all-names.d

# A folder of one version: <serial>-<number of the rollout>. Each .again is a repeat of a rollout that was cut off.
declare -r VERSION_NAME='^[0-9a-f]+-([0-9]+)(\.again)*$'
declare -r ADOPTED=00-0 # the version that the files of another tool become

CorrelationId='' CertName='' DeploymentId='' RolloutNumber=0 VersionId='' SecretArn='' DryRun=''
ReloadServices='' RestartServices='' VerifyPort=0 KeyFormat='' ExtraFormats='' KeyMode='' KeyGroup=''
outcome='' fault='' error='' notes='' current_step=start line_of_fault='' result_serial=''

# How far the run has come: nothing, staged, switched, loaded, completed. It is set before the act that it
# names, so that a signal at any moment finds the way back that is due. What the way back does, it may do twice.
progress=nothing
ending='' journal='' journal_bytes=0 mounts_refused='' staged='' dead_service='' was_dead='' hooks=() hooks_begun=() failed_hook=''
current='' previous='' whole='' damaged_record='' recorded_previous='' cut_off='' held_by_first_edition='' served_before='' authority=public
