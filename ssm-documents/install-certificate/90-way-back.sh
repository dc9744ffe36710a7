# ---- the way back ----

take_the_way_back() {
  say "switching back to ${previous:-no certificate}"
  if way_back && way_back_is_proved; then
    outcome=rolled-back
    quick rm -f "$base/.unfinished"
  else
    error="the way back failed ($way_back_error) after $fault: $error"
    fault=way-back-failed
  fi
}

# Any part of it may be done already, or never needed.
way_back() {
  local i hook unit undone=''
  way_back_error='cannot switch'
  if [[ -n $previous ]]; then
    [[ $versions/$previous -ef $base/current ]] || put_link "versions/$previous" "$base/current" || return 1
  else
    quick rm -f "$base/current" || return 1
  fi
  discard_staged
  # A run that was cut off may have loaded its version.
  [[ $progress == loaded || -n $cut_off ]] || return 0
  [[ -z $cut_off ]] || hooks_begun=${#hooks[@]}
  for ((i = 0; i < hooks_begun; i++)); do # a hook that copied the new certificate now copies the old one
    hook=${hooks[i]}
    [[ -z $previous ]] || run_hook "$hook" || [[ ! $? =~ ^(129|130|143)$ && $hook == "$failed_hook" ]] || undone+=", hook $hook failed"
  done
  # Without a certificate there may be nothing to reload: running is all that counts then.
  for unit in $ReloadServices $RestartServices; do
    [[ $was_dead == *" $unit "* ]] || use_in_service "$unit" || [[ -z $previous ]] || undone+=", $failure"
  done
  way_back_error=${undone#, } # each is tried, even if another failed
  [[ -z $undone ]]
}

way_back_is_proved() {
  local unit old=''
  for unit in $ReloadServices $RestartServices; do
    way_back_error="$unit is not running"
    [[ $was_dead == *" $unit "* ]] || is_active "$unit" || return 1
  done
  [[ -n $served_before ]] || return 0
  way_back_error="port $VerifyPort does not serve what it served before"
  [[ -z $previous ]] || old=$(<"$versions/$previous/fullchain.pem")
  port_comes_to_serve "$served_before" "$old"
}

# ---- completing ----

conclude() { # marker for the version that is switched on
  hold_signals # all is done, a moment is left
  mark "$base/current/$1"
  progress=completed
  quick rm -f "$base/.unfinished" || true
}

# Keeps three versions, none half-made, and no link to a format that is no longer asked for. Other folders belong to
# the administrator.
remove_old_versions() {
  local name number newest='' newest_number=-1
  [[ -n $staged ]] || return 0 # nothing new came
  list_versions
  for name in $listed; do
    [[ $name != "$version" && $name != "$previous" && -e $versions/$name/.completed ]] || continue
    number_of "$name"
    ((number <= newest_number)) || newest=$name newest_number=$number
  done
  for name in $listed; do
    case $name in "$version" | "$previous" | "$newest") continue ;; esac
    quick rm -rf "${versions:?}/$name" || say "cannot remove $versions/$name"
  done
  remove_dangling "$SSL/private/$CertName-combined.pem" "$SSL/private/$CertName.p12"
}
