# ---- checking this node ----

check_trust_folder() {
  local link found='' file=$base/current/fullchain.pem
  for link in "${links[@]:0:2}"; do
    # No server reads the links of a first run that was cut off.
    [[ -n $previous || $authority == public || ! -L $link ]] || must "remove $link" rm -f "$link"
    ! is_there "$link" || found+=" $link"
  done
  if trust_folder_is_generated; then
    note "$SSL/certs is generated on this system: use $file"
  elif [[ $authority == public ]]; then
    return 0
  elif [[ -z $found ]]; then
    note "this node does not know the authority, so no link is in $SSL/certs: use $file"
  else
    [[ -z $previous ]] || was_private "$previous" || refuse \
      "this node does not know the authority, and links would make programs trust it: let them read $file, remove$found, start a new rollout"
    note "programs may trust this private authority for every name: let them read $file, then remove$found"
  fi
}

was_private() { # version, as far as its files tell
  local leaf
  [[ -f $versions/$1/fullchain.pem ]] || return 1
  split_certificates "$(<"$versions/$1/fullchain.pem")"
  leaf=${CERTIFICATES[0]-}
  ! is_verified_here ${CERTIFICATES[@]+"${CERTIFICATES[@]:1}"}
}

# Where our links go there may be nothing, or our own links. Anything else is refused.
check_paths() {
  local i link
  check_folder "$SSL/certs"
  check_folder "$SSL/private"
  adopt_files
  for i in "${!links[@]}"; do
    link=${links[i]}
    if [[ -L $link ]]; then
      [[ $(exec_quick readlink "$link") == "$base/current/${files[i]}" ]]
    else
      [[ ! -e $link ]] || is_adopted "$i" || is_copy_of_a_version "$i"
    fi || refuse "$link is no link of this script: move it away, then start a new rollout"
  done
}

# Plain files of another tool. If all three are root's, and key and certificate match, they become the first version:
# what is served stays, and a way leads back to it.
adopt_files() {
  local first=$versions/$ADOPTED link i
  [[ -z $current || $current == "$ADOPTED" ]] || return 0
  for link in "${links[@]:0:3}"; do
    [[ -f $link && ! -L $link ]] || return 0
  done
  ! is_adopted 0 || ! is_adopted 1 || ! is_adopted 2 || return 0 # else their old tool has renewed them since
  only_roots "${links[@]:0:3}" || return 0
  [[ $(exec_openssl x509 -noout -pubkey -in "${links[0]}" 2>&1) == "$(exec_openssl pkey -pubout -in "${links[2]}" -passin pass: 2>&1)" ]] || return 0
  say 'adopting the files in place'
  make_folders "${own_folders[@]}" "$first"
  for i in 0 1 2; do
    link=${links[i]}
    must "copy $link" cp -p "$link" "$first/.new"
    must "copy $link" mv -f "$first/.new" "$first/${files[i]}"
  done
  must "write $first" sync "$first"/* "$first"
  place_link "versions/$ADOPTED" "$base/current"
  current=$ADOPTED previous=$ADOPTED
}

is_adopted() { # index of a link: the file in its place is in use as the first version
  [[ $current == "$ADOPTED" && -f ${links[$1]} && -f $base/current/${files[$1]} ]] &&
    [[ $(<"${links[$1]}") == "$(<"$base/current/${files[$1]}")" ]]
}

# A restored backup may have made plain files of links. The script may replace its own files.
is_copy_of_a_version() { # index of a link
  local folder sum link=${links[$1]}
  [[ -f $link ]] && only_roots "$link" || return 1
  sum=$(exec_quick sha256sum "$link") || return 1
  for folder in "$versions"/*; do
    [[ -f $folder/.sha256 && $'\n'$(<"$folder/.sha256")$'\n' == *$'\n'"${sum%% *}  ./${files[$1]}"$'\n'* ]] || continue
    note "$link was a file, now it is a link again"
    return 0
  done
  return 1
}

# In byte order, without names that end in ~, as certbot has them. Each name has a folder; the node's owner may choose
# hooks for all names.
check_hooks() {
  local of_all they='still run'
  take_hooks "$HOOKS_FOR_ALL"
  of_all=${#hooks[@]}
  take_hooks "$HOOKS"
  if ((${#hooks[@]} > of_all)); then
    [[ -n $of_first_edition ]] || they='do not run' hooks=("${hooks[@]:0:of_all}")
    note "hooks in $HOOKS itself $they for this name: move each to $HOOKS/$CertName or $HOOKS_FOR_ALL"
  fi
  take_hooks "$HOOKS/$CertName"
}

take_hooks() { # folder
  local hook real
  for hook in "$1"/*; do
    [[ -f $hook && -x $hook && $hook != *~ ]] || continue
    real=$(exec_quick readlink -f "$hook") || real=$hook
    only_roots "${HOOKS%/*}" "${1%/*}" "$1" "$hook" "${real%/*}" ||
      fail hook-refused "only root may own and write to hook $hook and its folder"
    hooks+=("$hook")
  done
}

# A dead service is not ours to start. It may be dead for want of its first certificate, which is put in place.
check_services() {
  local unit
  for unit in $ReloadServices; do
    ask_systemd show -p LoadState -p CanReload "$unit" || continue
    [[ $output != *LoadState=loaded* || $output != *CanReload=no* ]] || fail reload-impossible \
      "$unit cannot be reloaded (it has no ExecReload), nothing was changed: name it in RestartServices if a restart will do"
  done
  for unit in $ReloadServices $RestartServices; do
    ! is_active "$unit" || continue
    if [[ $DryRun == true ]] || was_proved "$previous"; then
      [[ $DryRun == true ]] || make_links # it may be dead for want of one
      fail service-not-running "$unit is not running: nothing was changed"
    fi
    dead_service=$unit was_dead+=" $unit "
  done
}

is_active() { # systemd unit
  ask_systemd is-active --quiet "$1"
}

stop_at_dead_service() {
  [[ -n $dead_service ]] || return 0
  conclude .placed # the way back may lead to it
  fail service-not-running "$dead_service is not running: the files are in place, start it, the next rollout completes"
}
