# ---- staging ----

stage_version() {
  version=$serial-$RolloutNumber # a repeat of a rollout never writes to a folder that is in use
  while [[ $version == "$current" || $version == "$previous" ]]; do version+=.again; done
  determine_key_access
  progress=staged staged=$versions/$version
  must "write $staged" write_version
  give_key_access
  prove_key_access
  restore_selinux_labels "$base"
  must "write $staged" sync_version
}

write_version() {
  local fullchain
  printf -v fullchain '%s\n' "$leaf" "${chain[@]}"
  umask 022
  remove_left_over "$staged" &&
    quick mkdir "$staged" &&
    cd "$staged" &&
    printf '%s\n' "$leaf" >cert.pem &&
    printf '%s\n' "${chain[@]}" >chain.pem &&
    printf '%s' "$fullchain" >fullchain.pem &&
    printf '%s\n' "SecretArn=$SecretArn" "VersionId=$VersionId" >bundle-reference &&
    if [[ $authority == private ]]; then write_marker .private; fi &&
    umask 077 &&
    printf '%s\n' "$options" >.options &&
    if [[ $KeyFormat == encrypted ]]; then PRIVATE_KEY=$ENCRYPTED_KEY; fi &&
    printf '%s\n' "$PRIVATE_KEY" >privkey.pem &&
    if [[ $ExtraFormats == *combined-pem* ]]; then printf '%s\n' "$fullchain$PRIVATE_KEY" >combined.pem; fi &&
    if [[ $ExtraFormats == *pkcs12* ]]; then (write_pkcs12 "$fullchain"); fi &&
    quick sha256sum ./*.* >.sha256
}

write_pkcs12() { # full chain; the algorithms are OpenSSL 3's own: what older ones choose, it no longer reads
  exec_openssl pkcs12 -export -name "$CertName" -out bundle.p12 -in <(lines "$1") \
    -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256 \
    -inkey <(lines "$ENCRYPTED_KEY") -passin fd:4 -passout fd:5 \
    4< <(lines "$PASSPHRASE") 5< <(lines "$PASSPHRASE")
}

sync_version() {
  exec_for "${LIMIT[sync]}" sync "$staged"/* "$staged"/.[os]* "$staged" "$versions" "$base"
}

# As asked for, else as found on the key that is in place, else 0600 and root.
determine_key_access() {
  local found_mode=600 key=$base/current/privkey.pem
  key_owner=0:0
  [[ -f $key || -z $previous ]] || key=$versions/$previous/privkey.pem
  [[ ! -f $key ]] ||
    read -r found_mode key_owner < <(exec_quick stat -c '%a %u:%g' "$key") || fail write-failed "cannot look at $key"
  printf -v key_mode '0%o' "$((8#$found_mode & 8#640))" # never for everybody, never for a group to write
  key_mode=${KeyMode:-$key_mode}
}

give_key_access() {
  local key
  for key in privkey.pem combined.pem bundle.p12; do
    [[ -f $staged/$key ]] || continue
    [[ $key_owner == 0:0 ]] || must 'keep the owner of the key' chown "$key_owner" "$staged/$key"
    [[ -z $KeyGroup ]] || must "give the key to group $KeyGroup" chgrp "$KeyGroup" "$staged/$key"
    [[ $key_mode == 0600 ]] || must 'set the mode of the key' chmod "$key_mode" "$staged/$key"
  done
}

# A process with no other right than the group opens the key, at the path that servers are told to use.
prove_key_access() {
  local group
  [[ -n $KeyGroup && $EUID == 0 ]] || return 0
  if ! ((8#$key_mode & 8#040)); then
    note "group $KeyGroup owns the key and cannot read it: its mode is $key_mode, ask for KeyMode 0640"
    return 0
  fi
  group=$(exec_quick stat -c %g "$staged/privkey.pem")
  # 65534: nobody, to whom no file belongs
  quick setpriv --reuid 65534 --regid "$group" --clear-groups test -r "$staged/privkey.pem" || fail key-access-impossible \
    "group $KeyGroup cannot reach $base/current/privkey.pem: look at the modes of the folders above it; nothing was changed"
}

restore_selinux_labels() { # path
  if [[ -e $ROOT/sys/fs/selinux/enforce ]] && type -P restorecon >/dev/null; then
    must 'restore the SELinux labels' restorecon -R "$1"
  fi
}

discard_staged_files() {
  local folder
  for folder in "$base" "$SSL/certs" "$SSL/private"; do
    remove_left_over "$folder/.acm-export-new.$CertName"
  done
  [[ -z $staged || $staged -ef $base/current ]] || remove_left_over "$staged"
  remove_dangling "${links[@]}"
}

remove_dangling() { # links: those of ours that lead nowhere
  local link
  for link in "$@"; do
    [[ ! -L $link || -e $link || $(exec_quick readlink "$link") != "$base/current/"* ]] || quick rm -f "$link"
  done
}

# ---- switching ----

put_link() { # target, link: in one rename, so that nobody ever finds it missing
  local new=${2%/*}/.acm-export-new.$CertName
  remove_left_over "$new" && quick ln -s "$1" "$new" && quick mv -T -f "$new" "$2"
}

# The links lead through current, so they are made once, and the one rename of current switches them all.
make_links() {
  local i folder
  for ((i = 0; i < ${#links[@]}; i++)); do
    if [[ -L ${links[i]} ]] || ! is_wanted "$i"; then continue; fi
    folder=${links[i]%/*} # private cannot be listed, but a group that may read a key gets to it
    [[ -d $folder ]] || must "make $folder" mkdir -m "$([[ $folder == */private ]] && echo 0711 || echo 0755)" "$folder"
    must "make ${links[i]}" put_link "$base/current/${files[i]}" "${links[i]}"
    restore_selinux_labels "${links[i]}"
  done
}

switch_to_version() {
  progress=switched
  [[ -e $base/.unfinished ]] || must "write in $base" write_marker "$base/.unfinished" # until all is proved, or undone
  make_links
  must "switch $base/current" put_link "versions/$version" "$base/current"
}
