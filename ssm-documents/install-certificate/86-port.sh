# ---- what the port serves ----

verify_port() {
  ((VerifyPort != 0)) || return 0
  port_comes_to_serve "$leaf" || fail not-served "port $VerifyPort does not serve serial $serial: $came_back"
}

# A reload takes its time, here ten seconds at most, and 30 with the time that answers take. Twice in a row: nginx
# lets old and new processes accept side by side for 0.1 s.
port_comes_to_serve() { # certificates, any of which will do
  local pause in_a_row=0 asking_ends
  read_clock
  asking_ends=$((clock + LIMIT[all-of-port]))
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

# Which of the names a server answers with this certificate is its own affair: one is enough. A wildcard
# stands for names that only the server knows; www is the likeliest. VerifyName is the only one where it is given.
port_serves() { # certificates, any of which will do
  local name asked=("${names[@]/#\*./www.}")
  [[ -z $VerifyName ]] || asked=("$VerifyName")
  for name in "${asked[@]}"; do
    ask_port "$name"
    [[ -z $served || " $* " != *"$served"* ]] || return 0
    # What says nothing to one name says nothing to the others.
    case $came_back in *'nobody listens'* | *'says nothing'*) return 1 ;; esac
    read_clock
    ((clock < asking_ends)) || return 1
  done
  return 1
}

# Sets served to the certificate that the port serves for a name, and came_back to what it answers, in words.
ask_port() { # name
  local address answer status seconds=${LIMIT[port]} starttls=()
  [[ -z $VerifyProtocol ]] || starttls=(-starttls "$VerifyProtocol")
  for address in 127.0.0.1 '[::1]'; do
    read_clock
    ((asking_ends - clock >= seconds)) || seconds=$((asking_ends > clock ? asking_ends - clock : 1))
    status=0
    answer=$(SSL_CERT_FILE=/dev/null exec_for "$seconds" openssl s_client -connect "$address:$VerifyPort" \
      -servername "$1" ${starttls[@]+"${starttls[@]}"} </dev/null 2>&1) || status=$?
    split_certificates "$answer"
    served=${CERTIFICATES[0]-}
    describe_answer "$status" "$answer"
    [[ $came_back == *'nobody listens'* ]] || return 0
  done
}

describe_answer() { # exit status of s_client, what it printed
  local serial_served
  case $2 in
    *'BEGIN CERTIFICATE'*)
      serial_served=$(exec_openssl x509 -noout -serial -in <(lines "$served") 2>/dev/null) || true
      serial_served=${serial_served#serial=}
      came_back="it serves serial ${serial_served,,}" ;;
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

note_what_is_served() {
  served_before=''
  ((VerifyPort != 0)) || return 0
  read_clock
  asking_ends=$((clock + LIMIT[all-of-port]))
  ask_port "${VerifyName:-${names[0]/#\*./www.}}"
  case $came_back in 'openssl knows no'*) fail missing-tool "this $came_back: update it" ;; esac
  served_before=$served
}
