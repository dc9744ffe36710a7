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

# It may find any part of it done already, or never needed.
way_back() {
  local hook unit undone=''
  way_back_error='cannot switch'
  if [[ -n $previous ]]; then
    [[ $versions/$previous -ef $base/current ]] || put_link "versions/$previous" "$base/current" || return 1
  else
    quick rm -f "$base/current" || return 1
  fi
  discard_staged_files
  # A run that was cut off may have loaded what it had switched to.
  [[ $progress == loaded || -n $cut_off ]] || return 0
  [[ -z $cut_off ]] || hooks_begun=(${hooks[@]+"${hooks[@]}"})
  for hook in ${hooks_begun[@]+"${hooks_begun[@]}"}; do # a hook that copied the new certificate now copies the old one
    [[ -z $previous ]] || run_hook "$hook" || [[ ! $? =~ ^(129|130|143)$ && $hook == "$failed_hook" ]] || undone+=", hook $hook failed"
  done
  # Without a certificate there may be nothing to reload: running is all that counts then.
  for unit in $ReloadServices; do
    use_in_service reload "$unit" || [[ -z $previous ]] || undone+=", the reload of $unit failed"
  done
  for unit in $RestartServices; do
    use_in_service restart "$unit" || [[ -z $previous ]] || undone+=", the restart of $unit failed"
  done
  way_back_error=${undone#, } # each is tried, whatever became of the others
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

mark_completed() {
  hold_signals # all is proved, a moment is left
  must "write in $base/current" write_marker "$base/current/.completed"
  progress=completed outcome=installed
  quick rm -f "$base/.unfinished" || true
}

# Keeps three versions: the present, the previous and one more; none that was left half-made; and no link to a
# format that is no longer asked for. Folders that are not versions belong to the administrator.
remove_old_versions() {
  local folder newest='' newest_number=-1 old=()
  for folder in "$versions"/*; do
    folder=${folder##*/}
    [[ $folder =~ $VERSION_NAME && $folder != "$version" && $folder != "$previous" ]] || continue
    old+=("$folder")
    [[ -e $versions/$folder/.completed ]] || continue
    ((10#${BASH_REMATCH[1]} <= newest_number)) || newest=$folder newest_number=$((10#${BASH_REMATCH[1]}))
  done
  for folder in ${old[@]+"${old[@]}"}; do
    [[ $folder == "$newest" ]] || quick rm -rf "${versions:?}/$folder" || say "cannot remove $versions/$folder"
  done
  remove_dangling "$SSL/private/$CertName-combined.pem" "$SSL/private/$CertName.p12"
}
