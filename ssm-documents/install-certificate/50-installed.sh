# ---- what is installed already ----

# current: the version that is switched on. previous: the last that was completed, to which the way back leads.
# They differ after a run that was cut off; then no server may have accepted current.
read_what_is_installed() {
  local folder mode
  find_current
  if [[ -z $current && -z $mounts_refused ]]; then
    repair_current
    find_current
  fi
  read_record
  [[ ! -e $base/.unfinished ]] || read -r unfinished <"$base/.unfinished" || true
  choose_previous
  [[ ! -e $base/.unfinished && $current == "$previous" ]] || cut_off=yes
  [[ -e $base/.second-edition || (! -e $base/record && (-z $previous || $previous == "$ADOPTED")) ]] || of_first_edition=yes
  [[ -n $current && -z $mounts_refused ]] || return 0
  # Under some umasks the first edition left folders that only root can enter.
  while read -r mode folder; do
    ((8#$mode & 1)) || must "open $folder" chmod 0755 "$folder"
  done < <(exec_quick stat -c '%a %n' "${own_folders[@]}" "$versions/$current")
}

list_versions() { # sets listed to their names
  local folder
  listed=''
  for folder in "$versions"/*; do
    [[ ! ${folder##*/} =~ $VERSION_NAME || -L $folder ]] || listed+=" ${folder##*/}"
  done
}

number_of() { # version: sets number to that of its rollout
  number=${1#*-}
  number=$((10#${number%%.*}))
}

find_current() {
  local name
  list_versions
  for name in $listed; do
    [[ ! $versions/$name -ef $base/current ]] || current=$name
  done
}

# A restored backup may have made a folder of the link. Anything else is refused.
repair_current() {
  local name
  is_there "$base/current" || return 0
  if [[ -L $base/current ]]; then
    name=$(exec_quick readlink "$base/current") || fail write-failed "cannot look at $base/current"
    [[ ${name%%/*} != versions || ! ${name#*/} =~ $VERSION_NAME ]] || return 0
  fi
  if [[ -L $base/current || ! -f $base/current/.sha256 ]] || ! only_roots "$base/current/" ||
    ! name=$(exec_openssl x509 -noout -serial -in "$base/current/cert.pem" 2>/dev/null); then
    refuse "$base/current is no link of this script: remove it"
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
  refuse_links "$base/record"
  [[ -e $base/record ]] || return 0
  [[ -f $base/record ]] || refuse "$base/record is not a file: remove it"
  read -r line <"$base/record" || true
  if [[ $line =~ ^([0-9a-f]{24})\ ([0-9]{1,15})\ ([^ ]+)$ ]]; then
    recorded_owner=${BASH_REMATCH[1]} recorded_number=$((10#${BASH_REMATCH[2]})) recorded_previous=${BASH_REMATCH[3]}
  else
    rebuild_record
  fi
}

# A crash can leave it empty. Each version knows its owner, and its number.
rebuild_record() {
  local name owner number
  local -A highest=()
  for name in $listed; do
    read -r owner _ <"$versions/$name/.options" || continue
    [[ $owner =~ ^[0-9a-f]{24}$ ]] || continue
    number_of "$name"
    ((number < ${highest[$owner]:-0})) || highest[$owner]=$number
    [[ -n $recorded_owner && $name != "$current" ]] || recorded_owner=$owner
  done 2>/dev/null
  [[ -z $recorded_owner ]] || recorded_number=${highest[$recorded_owner]}
  [[ -n $recorded_owner || -z $current || $current == "$ADOPTED" ]] ||
    refuse "$base/record is damaged, and no version names its owner: remove it"
  note "$base/record was damaged and is rebuilt: owner ${recorded_owner:-none}, rollout $recorded_number"
  damaged_record=yes
}

# The record names the last version before a run that was cut off. Else the last one has the highest number.
choose_previous() {
  local name number best=-1
  whole=yes previous=$current
  ! is_sound "$previous" || return 0
  previous=$recorded_previous
  [[ -z $current || ! $previous =~ $VERSION_NAME ]] || ! is_sound "$previous" || return 0
  previous=''
  for name in $listed; do
    number_of "$name"
    if ((number >= best)) && is_sound "$name"; then best=$number previous=$name; fi
  done
  [[ -z $previous && -n $current ]] || return 0
  if was_used "$current" || [[ ! -e $versions/$current/.sha256 ]]; then
    # Damaged, and better than nothing: servers may read the files that are left.
    previous=$current whole=''
  elif is_whole "$current" && [[ ! -e $base/.second-edition || $unfinished == loaded ]]; then
    # None was ever completed. A server may use this one: it passed its test, or the first edition put it there.
    previous=$current
  fi
}

# Nothing proved the version of a run that was cut off.
leave_what_was_cut_off() {
  [[ -n $cut_off && -n $previous && $current != "$previous" && -z $mounts_refused ]] || return 0
  ! was_used "$current" || return 0 # damaged: it may be served, and an older one may have expired
  say "the last run was cut off: back to $previous"
  place_link "versions/$previous" "$base/current"
  current=$previous
}

was_proved() { # version: completed, or taken over
  [[ -n $1 && -d $versions/$1 && ($1 == "$ADOPTED" || -e $versions/$1/.completed) ]]
}

was_used() { # version: proved, or put in place for a dead service
  was_proved "$1" || [[ -n $1 && -e $versions/$1/.placed ]]
}

is_whole() { # version: its files are as they were written
  local file status=0
  if [[ $1 == "$ADOPTED" ]]; then
    for file in fullchain.pem chain.pem privkey.pem; do [[ -s $versions/$1/$file ]] || return 1; done
  else
    (cd "$versions/$1" && exec_quick sha256sum --status -c .sha256) 2>/dev/null || status=$?
    ((status != 1)) # a time-out says nothing
  fi
}

is_sound() { # version
  was_used "$1" && is_whole "$1"
}

check_owner() {
  [[ -n $recorded_owner && $recorded_owner != "$DeploymentId" ]] || return 0
  [[ $TakeOver == true ]] || fail owned-by-another \
    "$CertName belongs to deployment $recorded_owner here; if that is gone or gives it up, start a rollout with TakeOver"
  note "$CertName is taken over from deployment $recorded_owner"
  recorded_number=0 # counts for the rollouts of that one
}

# A number is the second at which its rollout began, or little more. One far ahead would keep out all that follow.
refuse_rollout() {
  ((RolloutNumber >= recorded_number)) || fail rollout-superseded \
    "this node has seen rollout $recorded_number, later than $RolloutNumber"
  ((RolloutNumber == recorded_number || RolloutNumber <= $(date +%s) + 86400)) || fail rollout-superseded \
    "rollout $RolloutNumber is more than a day ahead of this node"
}

names_this_bundle() {
  local line=''
  read -r line <"$base/current/bundle-reference" && [[ $line == "SecretArn=$SecretArn" ]]
} 2>/dev/null

is_unchanged() {
  local i mode group
  [[ $DryRun == false && -n $current && -n $whole && -z $cut_off && -e $base/current/.completed ]] || return 1
  [[ -e $base/current/.options && $(<"$base/current/.options") == "$options" ]] || return 1
  # Its passphrase is that of one bundle.
  case "$KeyFormat $ExtraFormats" in *encrypted* | *pkcs12*) names_this_bundle || return 1 ;; esac
  [[ ! -e $base/current/.private ]] || authority=private
  for i in "${!links[@]}"; do
    is_wanted "$i" || continue
    [[ -L ${links[i]} && ${links[i]} -ef $base/current/${files[i]} ]] || return 1
  done
  if [[ -n $KeyMode$KeyGroup ]]; then
    read -r mode group < <(exec_quick stat -c '0%a %G' "$base/current/privkey.pem") || return 1
    [[ ${KeyMode:-$mode} == "$mode" && ${KeyGroup:-$group} == "$group" ]] || return 1
  fi
}

# It must reach the disk before the switch: a rollout that comes late must find it, even after a crash.
record_rollout() {
  make_folders "${SSL%/*}" "$SSL" "${own_folders[@]}"
  [[ -z $previous ]] || was_used "$previous" || mark "$versions/$previous/.placed"
  # Written once: names that the first edition installed keep its hooks.
  [[ -n $of_first_edition || -e $base/.second-edition ]] || mark "$base/.second-edition"
  [[ "$DeploymentId $RolloutNumber" == "$recorded_owner $recorded_number" && -z $damaged_record &&
    ($outcome == unchanged || ${previous:--} == "$recorded_previous") ]] ||
    must "write $base/record" write_record "$DeploymentId $RolloutNumber ${previous:--}"
}

remove_left_over() { # path: of a run that was cut off
  ! is_there "$1" || quick rm -rf "$1"
}

write_record() { # line
  umask 022
  remove_left_over "$base/.record.new" &&
    lines "$1" >"$base/.record.new" &&
    quick sync "$base/.record.new" &&
    exec_quick mv -f "$base/.record.new" "$base/record"
}

mark() { # file that stands for a fact, its text
  must "write $1" write_marker "$@"
}

write_marker() { # path, its text
  lines "${2-}" >|"$1"
}
