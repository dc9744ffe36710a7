# ---- checking this node ----

# SLES keeps /etc/ssl/certs elsewhere, Arch fills it from /etc/ca-certificates/extracted. Both make it anew at each
# update of the authorities, and what is not theirs vanishes.
trust_folder_is_generated() {
  [[ -d $ROOT/etc/ca-certificates/extracted ]] || [[ -d $ROOT/var/lib/ca-certificates/pem && -L $SSL/certs ]]
}

# A link in the trust folder is not made where it would vanish or make an authority trusted. One that is there from
# an earlier edition stays, because a server may read the certificate by it.
is_wanted() { # index of a link
  [[ ${links[$1]} != "$SSL/certs/"* ]] || [[ -e ${links[$1]} || -L ${links[$1]} ]] ||
    { [[ $authority == public ]] && ! trust_folder_is_generated; }
}

check_trust_folder() {
  local found=() i
  for i in 0 1; do
    # No server reads by links that only a run made which was cut off.
    [[ -n $previous || $authority == public || ! -L ${links[i]} ]] || must "remove ${links[i]}" rm -f "${links[i]}"
    [[ ! -e ${links[i]} && ! -L ${links[i]} ]] || found+=("${links[i]}")
  done
  if trust_folder_is_generated; then
    note "$SSL/certs is generated on this system: use $base/current/fullchain.pem"
  elif [[ $authority == private && ${#found[@]} == 0 ]]; then
    note "this node does not know the authority, so no link is in $SSL/certs: use $base/current/fullchain.pem"
  elif [[ $authority == private ]]; then
    [[ -z $previous ]] || was_private "$previous" || fail path-refused \
      "this node does not know the authority, and links would make programs trust it: let them read $base/current/fullchain.pem, remove ${found[*]}, start a new rollout"
    note "programs may trust this private authority for every name: let them read $base/current/fullchain.pem, then remove ${found[*]}"
  fi
}

was_private() { # version
  local leaf chain=()
  split_certificates "$(<"$versions/$1/fullchain.pem")"
  leaf=${CERTIFICATES[0]-} chain=(${CERTIFICATES[@]+"${CERTIFICATES[@]:1}"})
  ! is_verified_by_this_node ${chain[@]+"${chain[@]}"}
}

# Where our links go there may be nothing, or our own links. Anything else is refused.
check_paths() {
  local i folder folders=() found=() expected=''
  for folder in "$SSL/certs" "$SSL/private"; do # on some distributions a link, which must lead to a folder of root
    [[ ! -e $folder && ! -L $folder ]] || folders+=("$folder/")
  done
  ((${#folders[@]} == 0)) || only_roots "${folders[@]}" ||
    fail path-refused "only root may own and write to ${folders[*]}"
  adopt_original_files
  for ((i = 0; i < ${#links[@]}; i++)); do
    [[ -e ${links[i]} || -L ${links[i]} ]] || continue
    if [[ ! -L ${links[i]} ]]; then
      is_adopted "$i" || is_copy_of_a_version "$i" || fail path-refused \
        "${links[i]} is no link of this script: move it away, then start a new rollout"
      continue
    fi
    found+=("${links[i]}") expected+=${expected:+$'\n'}$base/current/${files[i]}
  done
  ((${#found[@]} == 0)) || [[ $(exec_quick readlink "${found[@]}") == "$expected" ]] || fail path-refused \
    "one of ${found[*]} is no link of this script: move it away, then start a new rollout"
}

# The sample that this project replaces leaves plain files at the same paths, and so may an administrator who
# wants a server to start before its first certificate comes. If all three are there, root's, and a key with its
# certificate, they become the first version: nothing that is served changes, and there is a way back to it.
adopt_original_files() {
  local first=$versions/$ADOPTED file i
  [[ -z $current || $current == "$ADOPTED" ]] || return 0
  for file in "${links[@]:0:3}"; do
    [[ -f $file && ! -L $file ]] || return 0
  done
  ! is_adopted 0 || ! is_adopted 1 || ! is_adopted 2 || return 0 # else their old tool has renewed them since
  only_roots "${links[@]:0:3}" || return 0
  [[ $(exec_openssl x509 -noout -pubkey -in "${links[0]}" 2>&1) == "$(exec_openssl pkey -pubout -in "${links[2]}" -passin pass: 2>&1)" ]] || return 0
  say 'adopting the files in place'
  make_folders "$SSL/acm-export" "$base" "$versions" "$first"
  for i in 0 1 2; do
    must "copy ${links[i]}" cp -p "${links[i]}" "$first/.new"
    must "copy ${links[i]}" mv -f "$first/.new" "$first/${files[i]}"
  done
  must "write $first" sync "$first"/* "$first"
  must "make $base/current" put_link "versions/$ADOPTED" "$base/current"
  current=$ADOPTED previous=$ADOPTED
}

is_adopted() { # index of a link: a copy of the plain file in its place is in use as the first version
  [[ $current == "$ADOPTED" && -f ${links[$1]} && $(<"${links[$1]}") == "$(<"$base/current/${files[$1]}")" ]]
}

# A backup that was put back makes plain files of links. What we wrote ourselves we may replace.
is_copy_of_a_version() { # index of a link
  local folder sum
  [[ -f ${links[$1]} ]] && only_roots "${links[$1]}" || return 1
  sum=$(exec_quick sha256sum "${links[$1]}") || return 1
  for folder in "$versions"/*; do
    [[ -f $folder/.sha256 && $'\n'$(<"$folder/.sha256")$'\n' == *$'\n'"${sum%% *}  ./${files[$1]}"$'\n'* ]] || continue
    note "${links[$1]} was a file, now it is a link again"
    return 0
  done
  return 1
}

# Executable files, in byte order, none whose name ends in ~, as certbot has them. Those of this name lie in a folder
# of its own. One for all names is the choice of the node's owner, and is told the name.
check_hooks() {
  local of_all they
  take_hooks "$HOOKS_FOR_ALL_NAMES"
  of_all=${#hooks[@]}
  take_hooks "$HOOKS"
  if ((${#hooks[@]} > of_all)); then
    if [[ -n $held_by_first_edition ]]; then
      they='still run'
    else
      they='do not run'
      hooks=(${hooks[@]+"${hooks[@]:0:of_all}"})
    fi
    note "hooks in $HOOKS itself $they for this name: move each to $HOOKS/$CertName or $HOOKS_FOR_ALL_NAMES"
  fi
  take_hooks "$HOOKS/$CertName"
}

take_hooks() { # folder
  local hook real
  [[ -d $1 ]] || return 0
  for hook in "$1"/*; do
    [[ -f $hook && -x $hook && $hook != *~ ]] || continue
    real=$(exec_quick readlink -f "$hook") || real=$hook
    only_roots "${HOOKS%/*}" "${1%/*}" "$1" "$hook" "${real%/*}" ||
      fail hook-refused "only root may own and write to hook $hook and its folder"
    hooks+=("$hook")
  done
}

# To start a dead service is not ours to decide. Where a certificate was installed before, nothing is changed. The
# first one is put in place all the same, as the service may be dead for want of it; the next run completes.
check_services() {
  local unit
  for unit in $ReloadServices; do
    apart "${LIMIT[file]}" systemctl show -p LoadState -p CanReload "$unit" || continue
    [[ $output != *LoadState=loaded* || $output != *CanReload=no* ]] || fail reload-impossible \
      "$unit cannot be reloaded (its unit has no ExecReload): name it in RestartServices if a restart will do, nothing was changed"
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
  apart "${LIMIT[file]}" systemctl is-active --quiet "$1"
}

stop_at_dead_service() {
  [[ -n $dead_service ]] || return 0
  hold_signals
  must "write in $base/current" write_marker "$base/current/.placed" # a version that the way back may lead to
  progress=completed
  quick rm -f "$base/.unfinished" || true
  fail service-not-running "$dead_service is not running: the files are in place, start it, the next rollout completes"
}
