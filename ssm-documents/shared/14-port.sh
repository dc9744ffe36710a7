# ---- asking a port ----

addresses=(127.0.0.1 '[::1]')

# One name is enough. A wildcard stands for names that only the server knows: www is the likeliest.
choose_names() { # sets asked
  asked=("${names[@]/#\*./www.}")
  [[ -z $VerifyName ]] || asked=("$VerifyName")
}

begin_asking() { # sets asking_ends
  read_clock
  asking_ends=$((clock + LIMIT[all-of-port]))
  ((asking_ends < deadline)) || asking_ends=$deadline
}

ask_port() { # name, or nothing: sets served to the certificate that the port serves, and came_back to its answer in words
  local address answer status
  for address in "${addresses[@]}"; do
    status=0
    answer=$(
      deadline=$asking_ends
      SSL_CERT_FILE=/dev/null RANDFILE=/dev/null exec_for port openssl s_client -connect "$address:$VerifyPort" \
        ${1:+-servername "$1"} ${VerifyProtocol:+-starttls "$VerifyProtocol"} </dev/null 2>&1
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
