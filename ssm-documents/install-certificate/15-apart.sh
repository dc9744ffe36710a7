# ---- programs of others ----

# Runs a hook, systemctl or a configuration test. What these leave behind must not hold the agent's pipes or our lock,
# and services would inherit umask and locale: so these are the caller's. Signals kill as usual.
apart() { # as exec_for: sets output to what the program printed
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
  case $status in 124 | 137) output='it did not end in time'$'\n'$output ;; esac
  return "$status"
}

ask_systemd() { # arguments of systemctl: sets output
  apart file systemctl "$@"
}
