# ---- telling what happens ----

say() { # an agent or journal that is gone must not end the installation
  local line="CorrelationId=$CorrelationId CertName=$CertName $*"
  lines "$line" >&2 2>/dev/null || true
  # A pipe holds 64 KB: then a journal that does not read would stop all.
  ((journal_bytes += ${#line} + 1))
  ((journal_bytes < 60000)) || journal=''
  [[ -z $journal ]] || lines "$line" >&8 2>/dev/null || journal=''
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

note() { # something to know although the installation goes on: also in the result
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

refuse() { # message
  fail path-refused "$1"
}

must() { # what for, function or program with its arguments: if it fails, the installation does
  local reason
  declare -F "$2" >/dev/null || set -- "$1" exec_quick "${@:2}"
  reason=$("${@:2}" 2>&1) || fail write-failed "cannot $1: ${reason:-it failed or did not end in time}"
}

add() { # name, text: to result, in characters that are safe inside a JSON string
  local text=${2//[$'\n\r\t']/ }
  text=${text//\"/\'}
  text=${text//[^ -~]/}
  text=${text//\\/}
  result+=",\"$1\":\"${text:0:300}\""
}

report() { # exit code
  local name result
  printf -v result '{"Outcome":"%s","ExitCode":%d,"RolloutNumber":%d' "$outcome" "$1" "$RolloutNumber"
  add Serial "$result_serial"
  for name in VersionId DeploymentId CertName CorrelationId; do add "$name" "${!name}"; done
  case $outcome in installed | unchanged) add Seen "$seen" ;; esac
  [[ -z $fault ]] || { add Step "$current_step"; add Error "$error"; }
  [[ $fault != rollout-superseded ]] || result+=",\"HeldNumber\":$recorded_number"
  [[ -z $notes ]] || add Note "$notes"
  lines "$result}" >&3
}

# Runs however the script ends, but for kill -9. In a trap, a return without a number gives the old exit code.
finish() {
  local code=$? IFS=$' \t\n' # a signal may come where IFS and set -f are others
  hold_signals
  trap - EXIT ERR
  set +ef
  if ((code != 0)); then
    [[ -n $fault ]] || { fault=unexpected error="the script itself failed at line $line_of_fault"; }
    say "fault $fault: $error"
    outcome=failed
    begin_phase way-back
    case $progress in
      staged) discard_staged ;;
      switched | loaded) [[ $DryRun == true ]] || take_the_way_back ;;
    esac
    code=${EXIT_CODE[$fault]}
  fi
  say "outcome $outcome, exit code $code"
  report "$code"
  is_error "$code" || code=0
  exit "$code"
}

# Whether this end counts against MaxErrors: not for a fault of this node alone, but at the canary.
is_error() { # exit code
  [[ $outcome != failed || $OWN_FAULTS != *" $1 "* || $AfterCanary$DryRun != *true* ]]
}

# A signal in the end changes nothing: a second exit would skip the way back.
interrupt() { # name of the signal
  [[ -n $ending ]] || fail interrupted "a signal (SIG$1) ended the installation"
}

heed_signals() {
  trap 'interrupt HUP' HUP
  trap 'interrupt INT' INT
  trap 'interrupt TERM' TERM
}

hold_signals() { # for a moment; programs that start then hold them too
  trap '' HUP INT TERM
}

open_channels() {
  exec 3>&1 1>&2 # now only report writes to standard output
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
