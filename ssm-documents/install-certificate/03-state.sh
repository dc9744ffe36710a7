# ---- limits, paths, and how far it has come ----

set -euo pipefail -o errtrace -o noclobber

# The caller decides nothing here, and hooks get back what was the caller's.
caller_umask=$(umask) caller_locale=${LC_ALL-}
umask 077
ulimit -c 0 # a core file would hold the key
export LC_ALL=C HOME="${HOME:-/root}"
unset BUNDLE FIELD PASSPHRASE ENCRYPTED_KEY PRIVATE_KEY # names stay exported

# Seconds of each phase. The agent kills the script after 1,800 (install-on-node.yaml): a test adds them up.
declare -rA BUDGET=([lock]=300 [prepare]=300 [use]=600 [way-back]=420)

# Seconds of one program, or what its phase has left.
declare -rA LIMIT=([file]=60 [sync]=120 [bundle]=60 [unit]=120 [config-test]=60 [hook]=300 [port]=5 [all-of-port]=30)

RUN=$ROOT/run/acm-export
HOOKS=$ROOT/etc/acm-export/hooks.d
HOOKS_FOR_ALL=$ROOT/etc/acm-export/hooks-for-all-names.d

# A version's folder: <serial>-<number of the rollout>. Each .again repeats a rollout that was cut off.
declare -r VERSION_NAME='^[0-9a-f]+-[0-9]+(\.again)*$'

CorrelationId='' CertName='' DeploymentId='' RolloutNumber=0 VersionId='' DryRun='' AfterCanary=''
outcome='' fault='' error='' notes='' current_step=start line_of_fault='' result_serial='' seen=files

# How far the run has come: nothing, staged, switched, loaded, completed. It is set before the act that it names:
# so a signal at any moment takes the way back that is due, which may do things twice.
progress=nothing
ending='' journal='' journal_bytes=0 mounts_refused='' staged='' dead_service='' was_dead='' hooks=() hooks_begun=0 failed_hook=''
current='' recorded_owner='' recorded_number=0 recorded_previous='' damaged_record=''
unfinished='' cut_off='' of_first_edition='' served_before='' authority=public
