# ---- programs that end ----

read_clock() { # sets clock to seconds that a change of the node's time does not move
  local uptime
  clock=$SECONDS
  [[ ! -r /proc/uptime ]] || { read -r uptime _ </proc/uptime && clock=${uptime%.*}; }
}

begin_phase() { # name: what runs from now on has its budget
  read_clock
  deadline=$((clock + BUDGET[$1]))
}

# Every program that this script starts comes here, and has an end. The (sub)shell becomes the program.
exec_for() { # seconds, program with its arguments
  local seconds=$1
  shift
  read_clock
  ((seconds <= deadline - clock)) || seconds=$((deadline > clock ? deadline - clock : 1))
  exec timeout -k "$KILL" "$seconds" "$@"
}

exec_quick() { # program that takes a moment, with its arguments
  exec_for "${LIMIT[file]}" "$@"
}

lines() { # texts
  printf '%s\n' "$@"
}

quick() { # the same, not in the place of this shell
  (exec_quick "$@")
}

# Runs a hook, systemctl or a configuration test. It may leave processes behind, and the agent waits until all have
# closed its pipes: so it gets streams of its own and no lock. It gets the caller's umask and locale, too, which
# services that it starts would inherit. Signals kill it as usual.
apart() { # seconds, program with its arguments: sets output to what it printed
  local status=0
  # Keeps the beginning and swallows the rest: in a file that would fill /run.
  {
    coproc KEEPER {
      trap '' HUP INT TERM
      IFS= read -r -d '' -n 8000 output || true
      printf '%s\0' "$output"
      exec cat >/dev/null
    } 3>&- 7>&- 8>&- 9>&-
  } 2>/dev/null
  eval "exec 5<&${KEEPER[0]} 6>&${KEEPER[1]} ${KEEPER[0]}<&- ${KEEPER[1]}>&-" # bash 4.2 takes numbers only
  (
    trap - HUP INT TERM PIPE
    umask "$caller_umask"
    if [[ -n $caller_locale ]]; then export LC_ALL=$caller_locale; else unset LC_ALL; fi
    exec_for "$@"
  ) </dev/null >&6 2>&1 3>&- 5<&- 6>&- 7>&- 8>&- 9>&- || status=$?
  printf '\0' >&6 || true # the end, though others may hold the pipe
  IFS= read -r -d '' output <&5 || true
  exec 5<&- 6>&-
  case $status in 124 | 137) output="it did not end in time"$'\n'$output ;; esac
  return "$status"
}

# Nothing is judged by the roots that openssl finds by itself, and to load them takes longer than all the rest.
# Give it <(...) to read: standard input it reads byte by byte.
exec_openssl() {
  export SSL_CERT_FILE=/dev/null SSL_CERT_DIR=/dev/null RANDFILE=/dev/null
  exec_quick openssl "$@"
}
