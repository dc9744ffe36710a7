# ---- what its port serves ----

# A server under load may take seconds: only the third try, which waits longest, tells that it says nothing.
look_at_port() { # sets port
  local name what='' patience
  type -P openssl >/dev/null && type -P timeout >/dev/null || return # nobody can ask
  names_in "$(exec_openssl x509 -noout -text -in "$certificate" 2>/dev/null)"
  choose_names
  begin_asking
  for name in "${asked[@]:-}"; do
    for patience in 2 5 10; do
      LIMIT[port]=$patience
      is_time_left || break 2
      ask_port "$name"
      [[ $came_back == *'says nothing'* ]] || break
    done
    case $came_back in
      'openssl knows no'*) return ;;
      'it serves'*)
        read_facts <(lines "$served")
        [[ $found_serial != "$serial" ]] || { what=$found_serial=$found_ends; break; }
        what=${what:-$found_serial=$found_ends} ;;
      *'nobody listens'*) what=${what:-closed} ;;
      *'says nothing'*) what=${what:-silent} ;;
      *) what=${what:-no-tls} ;;
    esac
  done
  port=$VerifyPort=${what:-silent}
}

is_time_left() {
  read_clock
  ((clock < asking_ends))
}
