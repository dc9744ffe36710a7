# ---- putting it to use ----

test_configurations() {
  local unit
  for unit in $ReloadServices $RestartServices; do
    configuration_is_good "$unit" || fail config-test-failed "the configuration test of $unit failed: $complaint"
  done
}

configuration_is_good() { # systemd unit: sets complaint to the most telling line of what its test printed
  local line
  config_tester "$1"
  arguments=()
  case $tester in
    nginx) read_arguments "$1" cp && apart "${LIMIT[config-test]}" nginx -t ${arguments[@]+"${arguments[@]}"} ;;
    apachectl) apart "${LIMIT[config-test]}" apachectl configtest ;;
    haproxy) read_haproxy_arguments "$1" && apart "${LIMIT[config-test]}" haproxy -c "${arguments[@]}" ;;
  esac && return 0
  say_lines "$output"
  complaint=''
  [[ $output != *'PRIVATE KEY'* ]] || return 1
  while IFS= read -r line; do
    complaint=${line:-$complaint}
    case $line in *emerg* | *ALERT* | *rror* | *'in time'*) return 1 ;; esac
  done < <(lines "$output")
  return 1
}

# A unit may give its server other files than the usual ones. What the running process was started with counts.
read_arguments() { # systemd unit, letters of the options that take such a file or folder: sets arguments
  local process line word taken=''
  apart "${LIMIT[file]}" systemctl show -p MainPID "$1" || return 0
  [[ $output =~ ^MainPID=([1-9][0-9]*) ]] || return 0
  process=/proc/${BASH_REMATCH[1]}/cmdline
  [[ -r $process ]] || return 0
  set -f # nginx shows its arguments as one line, separated by blanks
  while IFS= read -r -d '' line || [[ -n $line ]]; do
    for word in $line; do
      if [[ -n $taken ]]; then
        arguments+=("$taken" "$word") taken=''
      elif [[ $word =~ ^-[$2]$ ]]; then
        taken=$word
      fi
    done
  done <"$process"
  set +f
}

read_haproxy_arguments() { # systemd unit: sets arguments
  read_arguments "$1" fC
  [[ " ${arguments[*]-} " != *' -f '* ]] || return 0
  arguments+=(-f "$ROOT/etc/haproxy/haproxy.cfg")
  apart "${LIMIT[file]}" systemctl show -p ExecStart "$1" || return 0
  case $output in *CFGDIR* | *conf.d*) arguments+=(-f "$ROOT/etc/haproxy/conf.d") ;; esac
}

run_hooks() {
  local hook status
  must "write in $base" write_marker "$base/.unfinished" loaded
  progress=loaded
  ((${#hooks[@]} == 0)) || make_live_link
  for hook in ${hooks[@]+"${hooks[@]}"}; do
    say "hook $hook"
    hooks_begun+=("$hook")
    run_hook "$hook" && continue
    status=$? failed_hook=$hook
    fail hook-failed "hook $hook failed with exit status $status$(ended_late "$status")"
  done
}

ended_late() { # exit status
  case $1 in 124 | 137) printf ', because it did not end in %d s' "${LIMIT[hook]}" ;; esac
}

# certbot's hooks find the files in a folder with the certificate's name.
make_live_link() {
  make_folders "$base/live"
  [[ -L $base/live/$CertName ]] || remove_left_over "$base/live/$CertName" # a backup that was put back made a folder of it
  [[ $base/live/$CertName -ef $base/current ]] || must "make $base/live/$CertName" put_link ../current "$base/live/$CertName"
}

run_hook() { # path; certbot gives its deploy hooks the first two variables
  local status=0
  RENEWED_LINEAGE=$base/live/$CertName RENEWED_DOMAINS=${names[*]} ACM_EXPORT_CERT_NAME=$CertName \
    apart "${LIMIT[hook]}" "$1" || status=$?
  say_lines "$output"
  return "$status"
}

use_in_services() {
  local unit
  progress=loaded
  for unit in $ReloadServices; do
    use_in_service reload "$unit" || fail reload-failed "the reload of $unit failed: $output"
  done
  for unit in $RestartServices; do
    use_in_service restart "$unit" || fail reload-failed "the restart of $unit failed: $output"
  done
}

use_in_service() { # reload or restart, systemd unit: sets output
  apart "${LIMIT[unit]}" systemctl "$1" "$2" || return 1
  is_active "$2" && return 0
  output='it stopped running'
  return 1
}
