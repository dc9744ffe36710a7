# ---- TLS ports of others ----

# Sockets that listen come first in these files. A busy node has many thousands of others, which are not read.
list_listeners() { # sets address_of: where something listens, by port
  local file where status
  address_of=()
  for file in "$ROOT/proc/net/tcp" "$ROOT/proc/net/tcp6"; do
    [[ -r $file ]] || continue
    while read -r _ where _ status _; do
      case $status in
        0A) [[ -n ${address_of[16#${where##*:}]-} ]] || address_of[16#${where##*:}]=${where%:*} ;;
        st | 03) ;; # the first line; connections that old kernels show among those that listen
        *) break ;;
      esac
    done <"$file"
  done
}

# The kernel writes words of four bytes, the lowest byte first.
set_addresses() { # hexadecimal address: sets addresses to where to ask
  local word i text=''
  case $1 in
    *[!0]*) ;;
    *) return ;; # listens on all: localhost will do
  esac
  if [[ ${#1} == 8 || $1 == 0000000000000000FFFF0000* ]]; then
    word=${1: -8}
    printf -v text '%d.%d.%d.%d' "0x${word:6:2}" "0x${word:4:2}" "0x${word:2:2}" "0x${word:0:2}"
  else
    for ((i = 0; i < 32; i += 8)); do
      word=${1:i:8}
      text+=:${word:6:2}${word:4:2}:${word:2:2}${word:0:2}
    done
    text="[${text#:}]"
  fi
  addresses=("$text")
}

choose_ports() { # ports of our certificates: sets ports to those that are asked, the lowest first
  local number
  ports=()
  for number in "${!address_of[@]}"; do
    [[ "$NOT_ASKED$*" == *" $number "* ]] || ports+=("$number")
  done
  ports=("${ports[@]:0:MOST_PORTS}")
}

look_at_endpoint() { # port: prints its line if it serves a certificate
  VerifyPort=$1
  set_addresses "${address_of[$1]}"
  begin_asking
  ask_port ''
  [[ -n $served ]] || return
  read_facts <(lines "$served") -issuer -subject -nameopt RFC2253
  printf 'endpoint\t%s\t%s\t%s\t%s\t%s\n' "$1" "$found_serial" "$found_ends" "$issuer" "$subject"
}
