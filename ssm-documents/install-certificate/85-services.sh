# ---- putting it to use ----

test_configurations() {
  local unit
  for unit in $ReloadServices $RestartServices; do
    configuration_is_good "$unit" || fail config-test-failed "the configuration test of $unit failed: $complaint"
  done
}

configuration_is_good() { # systemd unit: sets complaint to the most telling line of its test
  local line
  config_tester "$1"
  case ${tester[0]-} in
    '') return 0 ;;
    nginx) add_arguments "$1" cp ;;
    haproxy) add_haproxy_arguments "$1" ;;
  esac
  ! apart config-test "${tester[@]}" || return 0
  say_lines "$output"
  complaint=''
  [[ $output != *'PRIVATE KEY'* ]] || return 1
  while IFS= read -r line; do
    complaint=${line:-$complaint}
    case $line in *emerg* | *ALERT* | *rror* | *'in time'*) return 1 ;; esac
  done < <(lines "$output")
  return 1
}

# The arguments of the running process count: a unit may name other files than the usual ones.
add_arguments() { # systemd unit, letters of options for such files: adds them to tester
  local process line word taken=''
  ask_systemd show -p MainPID "$1" || return 0
  [[ $output =~ ^MainPID=([1-9][0-9]*) ]] || return 0
  process=/proc/${BASH_REMATCH[1]}/cmdline
  [[ -r $process ]] || return 0
  set -f # nginx shows its arguments as one line
  while IFS= read -r -d '' line || [[ -n $line ]]; do
    for word in $line; do
      if [[ -n $taken ]]; then
        tester+=("$taken" "$word") taken=''
      elif [[ $word =~ ^-[$2]$ ]]; then
        taken=$word
      fi
    done
  done <"$process"
  set +f
}

add_haproxy_arguments() { # systemd unit
  add_arguments "$1" fC
  [[ " ${tester[*]} " != *' -f '* ]] || return 0
  tester+=(-f "$ROOT/etc/haproxy/haproxy.cfg")
  ask_systemd show -p ExecStart "$1" || return 0
  case $output in *CFGDIR* | *conf.d*) tester+=(-f "$ROOT/etc/haproxy/conf.d") ;; esac
}

run_hooks() {
  local hook status
  mark "$base/.unfinished" loaded
  progress=loaded
  ((${#hooks[@]} > 0)) || return 0
  make_live_link
  for hook in "${hooks[@]}"; do
    say "hook $hook"
    ((++hooks_begun))
    run_hook "$hook" && continue
    status=$? failed_hook=$hook
    case $status in 124 | 137) status+=", because it did not end in ${LIMIT[hook]} s" ;; esac
    fail hook-failed "hook $hook failed with exit status $status"
  done
}

# certbot's hooks find the files in a folder with the certificate's name.
make_live_link() {
  local link=$base/live/$CertName
  make_folders "$base/live"
  [[ -L $link ]] || remove_left_over "$link" # a restored backup made a folder of it
  [[ $link -ef $base/current ]] || place_link ../current "$link"
}

run_hook() { # path; certbot gives its deploy hooks the first two variables
  local status=0
  RENEWED_LINEAGE=$base/live/$CertName RENEWED_DOMAINS=${names[*]} ACM_EXPORT_CERT_NAME=$CertName \
    apart hook "$1" || status=$?
  say_lines "$output"
  return "$status"
}

use_in_services() {
  local unit
  progress=loaded
  for unit in $ReloadServices $RestartServices; do
    use_in_service "$unit" || fail reload-failed "$failure: $output"
  done
}

use_in_service() { # systemd unit: reloads or restarts it; sets failure and output
  local act=restart
  [[ " $ReloadServices " != *" $1 "* ]] || act=reload
  failure="the $act of $1 failed"
  apart unit systemctl "$act" "$1" || return 1
  ! is_active "$1" || return 0
  output='it stopped running'
  return 1
}
