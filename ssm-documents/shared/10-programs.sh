# ---- programs that end ----

read_clock() { # sets clock to seconds that a change of the node's time does not move
  clock=$SECONDS
  [[ ! -r /proc/uptime ]] || read -r clock _ </proc/uptime
  clock=${clock%.*}
}

begin_phase() { # name: what runs from now on has its budget
  read_clock
  deadline=$((clock + BUDGET[$1]))
}

# Every program starts here, and has an end. The (sub)shell becomes the program.
exec_for() { # name of a limit, or seconds; program with its arguments
  local seconds=${LIMIT[$1]-$1}
  shift
  read_clock
  ((seconds <= deadline - clock)) || seconds=$((deadline > clock ? deadline - clock : 1))
  exec timeout -k "$KILL" "$seconds" "$@"
}

exec_quick() { # program that takes a moment, with its arguments
  exec_for file "$@"
}

quick() { # the same, not in the place of this shell
  (exec_quick "$@")
}

lines() { # texts
  printf '%s\n' "$@"
}

# Without the roots that openssl finds by itself: nothing is judged by them, and they take longest to load.
# Give it <(...) to read: it reads standard input byte by byte.
exec_openssl() {
  export SSL_CERT_FILE=/dev/null SSL_CERT_DIR=/dev/null RANDFILE=/dev/null
  exec_quick openssl "$@"
}
