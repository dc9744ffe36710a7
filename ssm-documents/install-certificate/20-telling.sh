# ---- telling what happens ----

say() { # an agent or journal that is gone must not end the installation
  local line="CorrelationId=$CorrelationId CertName=$CertName $*"
  printf '%s\n' "$line" >&2 2>/dev/null || true
  # A pipe holds 64 KB: then a journal that does not read would stop all.
  ((journal_bytes += ${#line} + 1))
  ((journal_bytes < 60000)) || journal=''
  [[ -z $journal ]] || printf '%s\n' "$line" >&8 2>/dev/null || journal=''
}

say_lines() { # what a program printed: its first lines, never a key
  local line count=0
  if [[ $1 == *'PRIVATE KEY'* ]]; then
    say '  it printed a private key, which is not shown'
    return 0
  fi
  while IFS= read -r line; do
    [[ -n $line ]] || continue
    ((++count <= 20)) || { say '  ...'; return 0; }
    say "  ${line:0:300}"
  done < <(lines "$1")
}

note() { # something to know although the installation goes on: also stands in the result
  say "note: $1"
  notes+=${notes:+; }$1
}

step() {
  current_step=$1
  say "step $1"
}

fail() { # kind of fault, message
  ending=yes fault=$1 error=$2
  [[ $error != *'PRIVATE KEY'* ]] || error=${error%%-----*}'(a private key, which is not shown)'
  exit "${EXIT_CODE[$1]}"
}

must() { # what for, function or program with its arguments: if it fails, so does the installation
  local reason
  declare -F "$2" >/dev/null || set -- "$1" exec_quick "${@:2}"
  reason=$("${@:2}" 2>&1) || fail write-failed "cannot $1: ${reason:-it failed or did not end in time}"
}

plain_text() { # makes any text one line of plain characters that are safe inside a JSON string
  local text=${1//[$'\n\r\t']/ }
  text=${text//\"/\'}
  text=${text//[^ -~]/}
  text=${text//\\/}
  printf '%s' "${text:0:300}"
}

report() { # exit code
  local more=''
  [[ -z $fault ]] || more=$(printf ',"Step":"%s","Error":"%s"' "$current_step" "$(plain_text "$error")")
  [[ $fault != rollout-superseded ]] || more+=",\"HeldNumber\":$recorded_number"
  [[ -z $notes ]] || more+=$(printf ',"Note":"%s"' "$(plain_text "$notes")")
  printf '{"Outcome":"%s","ExitCode":%d,"Serial":"%s","VersionId":"%s","RolloutNumber":%d,"DeploymentId":"%s","CertName":"%s","CorrelationId":"%s"%s}\n' \
    "$outcome" "$1" "$result_serial" "$VersionId" "$RolloutNumber" "$DeploymentId" "$CertName" "$CorrelationId" "$more" >&3
}

# Runs however the script ends, except by kill -9. In a trap a return without a number gives the exit code that
# was there before: so all have one.
finish() {
  local code=$? IFS=$' \t\n' # a signal may have come where IFS and set -f were others
  hold_signals
  trap - EXIT ERR
  set +ef
  if ((code != 0)); then
    [[ -n $fault ]] || { fault=unexpected error="the script itself failed at line $line_of_fault"; }
    say "fault $fault: $error"
    outcome=failed
    begin_phase way-back
    case $progress in
      staged) discard_staged_files ;;
      switched | loaded) [[ $DryRun == true ]] || take_the_way_back ;;
    esac
    code=${EXIT_CODE[$fault]}
  fi
  say "outcome $outcome, exit code $code"
  report "$code"
  exit "$code"
}

# A signal that comes while the script ends already changes nothing: to exit once more would skip the way back.
interrupt() { # name of the signal
  [[ -z $ending ]] || return 0
  fail interrupted "a signal (SIG$1) ended the installation"
}

heed_signals() {
  trap 'interrupt HUP' HUP
  trap 'interrupt INT' INT
  trap 'interrupt TERM' TERM
}

hold_signals() { # for a moment; what is started then holds them too
  trap '' HUP INT TERM
}

open_channels() {
  exec 3>&1 1>&2 # from here on only report writes to standard output
  trap finish EXIT
  heed_signals
  trap 'line_of_fault=$LINENO ending=yes' ERR
  trap : PIPE # not ignored: programs would inherit that
  begin_phase lock
  [[ ! ${SSM_CorrelationId-} =~ ^[A-Za-z0-9-]{1,64}$ ]] || CorrelationId=$SSM_CorrelationId
  if type -P logger >/dev/null && type -P timeout >/dev/null; then
    exec 8> >(exec timeout -k "$KILL" 1800 logger -t acm-export >/dev/null 2>&1 3>&-)
    journal=open
  fi
}
