# ---- what the port serves ----

verify_port() {
  ((VerifyPort == 0)) || port_comes_to_serve "$leaf" ||
    fail not-served "port $VerifyPort does not serve serial $serial: $came_back"
}

begin_asking() { # sets asking_ends
  read_clock
  asking_ends=$((clock + LIMIT[all-of-port]))
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

ask_port() { # name: sets served to the certificate that the port serves, and came_back to its answer in words
  local address answer status
  for address in 127.0.0.1 '[::1]'; do
    status=0
    answer=$(
      ((deadline < asking_ends)) || deadline=$asking_ends
      SSL_CERT_FILE=/dev/null exec_for port openssl s_client -connect "$address:$VerifyPort" \
        -servername "$1" ${VerifyProtocol:+-starttls "$VerifyProtocol"} </dev/null 2>&1
    ) || status=$?
    split_certificates "$answer"
    served=${CERTIFICATES[0]-}
    describe_answer "$status" "$answer"
    [[ $came_back == *'nobody listens'* ]] || return 0
  done
}

describe_answer() { # exit status of s_client, what it printed
  case $2 in
    *'BEGIN CERTIFICATE'*)
      came_back=$(exec_openssl x509 -noout -serial -in <(lines "$served") 2>/dev/null) || true
      came_back=${came_back#serial=}
      came_back="it serves serial ${came_back,,}" ;;
    *'onnection refused'* | *errno=111* | *nreachable* | *'annot assign'* | *'not supported by protocol'* | *ervbyname* | *errno=9[79]*)
      came_back='nobody listens on 127.0.0.1 or [::1]' ;;
    *'alue must be one of'* | *'usage: s_client'*) came_back="openssl knows no STARTTLS of $VerifyProtocol" ;;
    *'wrong version number'* | *'unknown protocol'* | *'record layer'* | *'packet length too long'*)
      came_back='it does not speak TLS at once (it may want STARTTLS, see VerifyProtocol, or the PROXY protocol)'
      [[ -z $VerifyProtocol ]] || came_back="it does not speak TLS after STARTTLS of $VerifyProtocol" ;;
    *' alert '*)
      answer=${2#*alert }
      came_back="it refuses the handshake with the alert ${answer%%:*}" ;;
    *)
      came_back='it closes the connection'
      case $1 in 124 | 137) came_back="it accepts a connection and says nothing for ${LIMIT[port]} s" ;; esac ;;
  esac
}

# One name is enough: the server decides which ones get this certificate. A wildcard stands for names that only the
# server knows: www is the likeliest. VerifyName, if given, is the only one.
note_what_is_served() {
  ((VerifyPort != 0)) || return 0
  asked=("${names[@]/#\*./www.}")
  [[ -z $VerifyName ]] || asked=("$VerifyName")
  begin_asking
  ask_port "${asked[0]}"
  case $came_back in 'openssl knows no'*) fail missing-tool "this $came_back: update it" ;; esac
  served_before=$served
}
