# ---- staging ----

stage_version() {
  version=$serial-$RolloutNumber # a repeat of a rollout never writes to a folder that is in use
  while [[ $version == "$current" || $version == "$previous" ]]; do version+=.again; done
  determine_key_access
  progress=staged staged=$versions/$version
  must "write $staged" write_version
  give_key_access
  prove_key_access
  restore_labels "$base"
  must "write $staged" sync_version
}

write_version() {
  umask 022
  remove_left_over "$staged" &&
    quick mkdir "$staged" &&
    cd "$staged" &&
    lines "$leaf" >cert.pem &&
    lines "${chain[@]}" >chain.pem &&
    lines "$leaf" "${chain[@]}" >fullchain.pem &&
    lines "SecretArn=$SecretArn" "VersionId=$VersionId" >bundle-reference &&
    if [[ $authority == private ]]; then write_marker .private; fi &&
    umask 077 &&
    lines "$options" >.options &&
    if [[ $KeyFormat == encrypted ]]; then PRIVATE_KEY=$ENCRYPTED_KEY; fi &&
    lines "$PRIVATE_KEY" >privkey.pem &&
    if [[ $ExtraFormats == *combined-pem* ]]; then lines "$leaf" "${chain[@]}" "$PRIVATE_KEY" >combined.pem; fi &&
    if [[ $ExtraFormats == *pkcs12* ]]; then (write_pkcs12); fi &&
    quick sha256sum ./*.* >.sha256
}

write_pkcs12() { # the algorithms are OpenSSL 3's own: it no longer reads what older ones choose
  exec_openssl pkcs12 -export -name "$CertName" -out bundle.p12 -in fullchain.pem \
    -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256 \
    -inkey <(lines "$ENCRYPTED_KEY") -passin fd:4 -passout fd:5 \
    4< <(lines "$PASSPHRASE") 5< <(lines "$PASSPHRASE")
}

sync_version() {
  exec_for sync sync "$staged"/* "$staged"/.[os]* "$staged" "$versions" "$base"
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
  local key reason
  for key in "$staged"/{privkey.pem,combined.pem,bundle.p12}; do
    [[ -f $key ]] || continue
    [[ $key_owner == 0:0 ]] || must 'keep the owner of the key' chown "$key_owner" "$key"
    [[ -z $KeyGroup ]] || reason=$(exec_quick chgrp "$KeyGroup" "$key" 2>&1) ||
      fail key-access-impossible "cannot give the key to group $KeyGroup: $reason; nothing was changed"
    [[ $key_mode == 0600 ]] || must 'set the mode of the key' chmod "$key_mode" "$key"
  done
}

# A process with no right but the group opens the key.
prove_key_access() {
  local group
  [[ -n $KeyGroup && $EUID == 0 ]] || return 0
  if ! ((8#$key_mode & 8#040)); then
    note "group $KeyGroup owns the key and cannot read it: its mode is $key_mode, ask for KeyMode 0640"
    return 0
  fi
  group=$(exec_quick stat -c %g "$staged/privkey.pem")
  # 65534: nobody, who owns no file
  quick setpriv --reuid 65534 --regid "$group" --clear-groups test -r "$staged/privkey.pem" || fail key-access-impossible \
    "group $KeyGroup cannot reach $base/current/privkey.pem: look at the modes of its folders; nothing was changed"
}

restore_labels() { # path
  if [[ -e $ROOT/sys/fs/selinux/enforce ]] && type -P restorecon >/dev/null; then
    must 'restore the SELinux labels' restorecon -R "$1"
  fi
}

discard_staged() {
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

put_link() { # target, link: in one rename, so that it is never missing
  local new=${2%/*}/.acm-export-new.$CertName
  remove_left_over "$new" && quick ln -s "$1" "$new" && quick mv -T -f "$new" "$2"
}

place_link() { # target, link
  must "make $2" put_link "$@"
}

# They lead through current, whose one rename switches them all.
make_links() {
  local i link folder mode
  for i in "${!links[@]}"; do
    link=${links[i]}
    if [[ -L $link ]] || ! is_wanted "$i"; then continue; fi
    folder=${link%/*} mode=0755
    [[ $folder != */private ]] || mode=0711 # not to be listed, but a group that may read a key gets to it
    [[ -d $folder ]] || must "make $folder" mkdir -m "$mode" "$folder"
    place_link "$base/current/${files[i]}" "$link"
    restore_labels "$link"
  done
}

switch_to_version() {
  progress=switched
  [[ -e $base/.unfinished ]] || mark "$base/.unfinished" # until all is proved, or undone
  make_links
  place_link "versions/$version" "$base/current"
}
