# ---- what is installed already ----

# current: the version that is switched on. previous: the version that the way back leads to, the last that was
# completed. They differ after a run that was cut off; then no server may have accepted current.
read_what_is_installed() {
  local folder mode
  recorded_owner='' recorded_number=0 recorded_previous=''
  find_current
  if [[ -z $current && -z $mounts_refused ]]; then
    repair_current
    find_current
  fi
  read_record
  unfinished=''
  [[ ! -e $base/.unfinished ]] || read -r unfinished <"$base/.unfinished" || true
  choose_previous
  [[ ! -e $base/.unfinished && $current == "$previous" ]] || cut_off=yes
  [[ -e $base/.second-edition || (! -e $base/record && (-z $previous || $previous == "$ADOPTED")) ]] || held_by_first_edition=yes
  [[ -n $current && -z $mounts_refused ]] || return 0
  # The first edition left folders that only root can enter where the caller's umask said so.
  while read -r mode folder; do
    ((8#$mode & 1)) || must "open $folder" chmod 0755 "$folder"
  done < <(exec_quick stat -c '%a %n' "$SSL/acm-export" "$base" "$versions" "$versions/$current")
}

find_current() {
  local folder
  for folder in "$versions"/*; do
    [[ ! ${folder##*/} =~ $VERSION_NAME || -L $folder || ! $folder -ef $base/current ]] || current=${folder##*/}
  done
}

# A backup that was put back may have made a folder of the link. Anything else is refused.
repair_current() {
  local name
  if [[ -L $base/current ]]; then
    name=$(exec_quick readlink "$base/current") || fail write-failed "cannot look at $base/current"
    [[ ${name%%/*} == versions && ${name#*/} =~ $VERSION_NAME ]] ||
      fail path-refused "$base/current is not a link of this script: remove it"
    return 0
  fi
  [[ -e $base/current ]] || return 0
  if [[ ! -f $base/current/.sha256 ]] || ! only_roots "$base/current/" ||
    ! name=$(exec_openssl x509 -noout -serial -in "$base/current/cert.pem" 2>/dev/null); then
    fail path-refused "$base/current is not a link of this script: remove it"
  fi
  name=${name#serial=}
  name=${name,,}-0
  while [[ -e $versions/$name ]]; do name+=.again; done
  make_folders "$versions"
  note "$base/current was a folder, now it is a link to version $name"
  hold_signals # no rename puts a link in the place of a folder
  if quick mv -T "$base/current" "$versions/$name"; then
    put_link "versions/$name" "$base/current" || quick mv -T "$versions/$name" "$base/current" || true
  fi
  heed_signals
  [[ -L $base/current ]] || fail write-failed "cannot make a link of $base/current"
}

# Owner, highest rollout number seen, and the version before that rollout.
read_record() {
  local line=''
  [[ ! -L $base/record ]] || fail path-refused "$base/record is a symbolic link"
  [[ -e $base/record ]] || return 0
  [[ -f $base/record ]] || fail path-refused "$base/record is not a file: remove it"
  read -r line <"$base/record" || true
  if [[ $line =~ ^([0-9a-f]{24})\ ([0-9]{1,15})\ ([^ ]+)$ ]]; then
    recorded_owner=${BASH_REMATCH[1]} recorded_number=$((10#${BASH_REMATCH[2]})) recorded_previous=${BASH_REMATCH[3]}
  else
    rebuild_record
  fi
}

# A crash can leave it empty. Each version knows its owner, and its number.
rebuild_record() {
  local folder owner number
  local -A highest=()
  for folder in "$versions"/*; do
    [[ ${folder##*/} =~ $VERSION_NAME && ! -L $folder ]] || continue
    number=$((10#${BASH_REMATCH[1]}))
    read -r owner _ <"$folder/.options" || continue
    [[ $owner =~ ^[0-9a-f]{24}$ ]] || continue
    ((number < ${highest[$owner]:-0})) || highest[$owner]=$number
    [[ -n $recorded_owner && ${folder##*/} != "$current" ]] || recorded_owner=$owner
  done 2>/dev/null
  [[ -z $recorded_owner ]] || recorded_number=${highest[$recorded_owner]}
  [[ -n $recorded_owner || -z $current || $current == "$ADOPTED" ]] ||
    fail path-refused "$base/record is damaged, and no version says whose it is: remove it"
  note "$base/record was damaged and is rebuilt: owner ${recorded_owner:-none}, rollout $recorded_number"
  damaged_record=yes
}

# The record says which was the last when the run began that was cut off. Else the highest number is that of the last.
choose_previous() {
  local folder number best=-1
  previous='' whole=yes
  if was_used "$current" && is_whole "$current"; then
    previous=$current
    return 0
  fi
  if [[ -n $current && $recorded_previous =~ $VERSION_NAME ]] && was_used "$recorded_previous" && is_whole "$recorded_previous"; then
    previous=$recorded_previous
    return 0
  fi
  for folder in "$versions"/*; do
    [[ ${folder##*/} =~ $VERSION_NAME && ! -L $folder ]] || continue
    number=$((10#${BASH_REMATCH[1]}))
    if ((number >= best)) && was_used "${folder##*/}" && is_whole "${folder##*/}"; then
      best=$number previous=${folder##*/}
    fi
  done
  # Damaged, and still better than nothing: servers may read the files that are left.
  [[ -n $previous ]] || ! was_used "$current" || previous=$current whole=''
  # No run switches to a version without its sums: what was beside the files is lost, not they.
  [[ -n $previous || -z $current || -e $versions/$current/.sha256 ]] || previous=$current whole=''
  # Nothing was ever completed. What passed its configuration test, or what the first edition put in place, is better
  # than nothing: a server may use it by now.
  [[ -n $previous || -z $current ]] || ! is_whole "$current" || [[ -e $base/.second-edition && $unfinished != loaded ]] ||
    previous=$current
}

# Nothing proved the version that a run left which was cut off. A run that fails early must not leave it.
leave_what_was_cut_off() {
  [[ -n $cut_off && -n $previous && $current != "$previous" && -z $mounts_refused ]] || return 0
  ! was_used "$current" || return 0 # damaged: it may be served, and what is older may have expired
  say "the last run was cut off: back to $previous"
  must "switch $base/current" put_link "versions/$previous" "$base/current"
  current=$previous
}

was_used() { # version: completed, or put in place for a service that was not running, or taken over
  [[ -n $1 && -d $versions/$1 && ($1 == "$ADOPTED" || -e $versions/$1/.completed || -e $versions/$1/.placed) ]]
}

was_proved() { # version
  [[ -n $1 && ($1 == "$ADOPTED" || -e $versions/$1/.completed) ]]
}

is_whole() { # version: its files are as they were written
  local file status=0
  if [[ $1 == "$ADOPTED" ]]; then
    for file in fullchain.pem chain.pem privkey.pem; do [[ -s $versions/$1/$file ]] || return 1; done
  else
    (cd "$versions/$1" && exec_quick sha256sum --status -c .sha256) 2>/dev/null || status=$?
    ((status != 1)) # that it took too long says nothing
  fi
}

check_owner() {
  [[ -z $recorded_owner || $recorded_owner == "$DeploymentId" ]] || fail owned-by-another \
    "$CertName belongs to deployment $recorded_owner here; if that is gone for good, remove $base/record"
}

# A number is at least the second at which its rollout began. One far ahead would keep out all that follow.
refuse_rollout() {
  local most
  ((RolloutNumber >= recorded_number)) || fail rollout-superseded \
    "this node has seen rollout $recorded_number, which is later than $RolloutNumber"
  printf -v most '%(%s)T' -1
  ((most >= recorded_number)) || most=$recorded_number
  ((RolloutNumber <= most + 86400)) || fail rollout-superseded \
    "rollout $RolloutNumber is more than a day ahead of this node"
}

is_unchanged() {
  local i installed_options='' mode group
  [[ $DryRun == false && -n $current && $current == "$previous" && -n $whole && -z $cut_off && -e $base/current/.completed ]] || return 1
  read -r installed_options <"$base/current/.options" || return 1
  [[ $installed_options == "$options" ]] || return 1
  authority=public
  [[ ! -e $base/current/.private ]] || authority=private
  for ((i = 0; i < ${#links[@]}; i++)); do
    is_wanted "$i" || continue
    [[ -L ${links[i]} && ${links[i]} -ef $base/current/${files[i]} ]] || return 1
  done
  if [[ -n $KeyMode$KeyGroup ]]; then
    read -r mode group < <(exec_quick stat -c '0%a %G' "$base/current/privkey.pem") || return 1
    [[ ${KeyMode:-$mode} == "$mode" && ${KeyGroup:-$group} == "$group" ]] || return 1
  fi
}

# Must reach the disk before anything is switched: a rollout that comes late must find it, even after a crash.
record_rollout() {
  make_folders "${SSL%/*}" "$SSL" "$SSL/acm-export" "$base" "$versions"
  [[ -z $previous ]] || was_used "$previous" || must "write in $previous" write_marker "$versions/$previous/.placed"
  # Written once: what was here before is what the first edition installed, and keeps its hooks.
  [[ -n $held_by_first_edition || -e $base/.second-edition ]] || must "write in $base" write_marker "$base/.second-edition"
  [[ "$DeploymentId $RolloutNumber" == "$recorded_owner $recorded_number" && -z $damaged_record &&
    ($outcome == unchanged || ${previous:--} == "$recorded_previous") ]] ||
    must "write $base/record" write_record "$DeploymentId $RolloutNumber ${previous:--}"
}

remove_left_over() { # path: of a run that was cut off
  [[ ! -e $1 && ! -L $1 ]] || quick rm -rf "$1"
}

write_record() { # line
  umask 022
  remove_left_over "$base/.record.new" &&
    printf '%s\n' "$1" >"$base/.record.new" &&
    quick sync "$base/.record.new" &&
    exec_quick mv -f "$base/.record.new" "$base/record"
}

write_marker() { # path, its text
  lines "${2-}" >|"$1"
}
