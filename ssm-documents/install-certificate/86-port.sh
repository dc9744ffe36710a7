# ---- what the port serves ----

verify_port() {
  ((VerifyPort != 0)) || return 0
  port_comes_to_serve "$leaf" || fail not-served "port $VerifyPort does not serve serial $serial: $came_back"
  seen=port
}

# A reload may take ten seconds, 30 with the time that answers take. Twice in a row: old and new processes of nginx
# accept side by side for 0.1 s.
port_comes_to_serve() { # certificates: any will do
  local pause in_a_row=0
  begin_asking
  for pause in 0.03 0.05 0.1 0.2 0.3 0.5 1 2 3 3 0; do
    if port_serves "$@"; then
      ((++in_a_row < 2)) || return 0
      quick sleep 0.15
    else
      in_a_row=0
      quick sleep "$pause"
    fi
    read_clock
    ((clock < asking_ends)) || return 1
  done
  return 1
}

port_serves() { # certificates: any will do
  local name
  for name in "${asked[@]}"; do
    ask_port "$name"
    [[ -z $served || " $* " != *"$served"* ]] || return 0
    # A port that says nothing to one name says nothing to the others.
    case $came_back in *'nobody listens'* | *'says nothing'*) return 1 ;; esac
    read_clock
    ((clock < asking_ends)) || return 1
  done
  return 1
}

note_what_is_served() {
  ((VerifyPort != 0)) || return 0
  choose_names
  begin_asking
  ask_port "${asked[0]}"
  case $came_back in 'openssl knows no'*) fail missing-tool "this $came_back: update it" ;; esac
  served_before=$served
}

# Unchanged files prove nothing of a server that has not loaded them, or is configured otherwise.
is_to_heal() {
  [[ $Heal == true && $VerifyPort != 0 ]] || return 1
  split_certificates "$(<"$base/current/cert.pem")"
  leaf=${CERTIFICATES[0]-} serial=$result_serial
  read_certificate
  choose_names
  if port_comes_to_serve "$leaf"; then
    seen=port
    return 1
  fi
  say "port $VerifyPort does not serve what is installed: $came_back"
}
