#!/bin/bash
# Installs one version of one certificate on this node, as root, started by the SSM Agent.
#
# Its services serve the certificate that they served before, or the new one, whole. One rename switches all files.
# Whatever goes wrong after it, the rename is undone, the services load the old files again, and that is proved.
# Start reading at main, at the end. It takes variables SSM_<parameter> from the agent, and prints its result to standard
# output, in one line of JSON.
#
# The key and its passphrase live in variables of this shell, are never exported, and reach openssl
# through pipes only. No here-documents or here-strings: bash writes those to temporary files.

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

CorrelationId='' CertName='' DeploymentId='' RolloutNumber=0 VersionId='' DryRun=''
outcome='' fault='' error='' notes='' current_step=start line_of_fault='' result_serial=''

# How far the run has come: nothing, staged, switched, loaded, completed. It is set before the act that it
# names, so that a signal at any moment finds the way back that is due. What the way back does, it may do twice.
progress=nothing
ending='' journal='' journal_bytes=0 mounts_refused='' staged='' dead_service='' was_dead='' hooks=() hooks_begun=() failed_hook=''
current='' previous='' whole='' damaged_record='' recorded_previous='' cut_off='' held_by_first_edition='' served_before='' authority=public
