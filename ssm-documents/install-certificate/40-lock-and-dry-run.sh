# ---- one installation at a time ----

only_roots() { # paths: root (in tests the caller) owns them, and alone can write to them
  local facts owner_and_mode
  facts=$(exec_quick stat -L -c %u-%a "$@") || return 1
  for owner_and_mode in $facts; do
    ((${owner_and_mode%-*} == EUID && !(8#${owner_and_mode#*-} & 8#022))) || return 1
  done
}

check_folder() { # path: there is nothing, or a folder of root alone, or a link to one
  ! is_there "$1" || only_roots "$1/" ||
    refuse "only root may own and write to $1: look at its files, then chown root and chmod go-w"
}

refuse_links() { # paths
  local path
  for path in "$@"; do
    [[ ! -L $path ]] || refuse "$path is a symbolic link"
  done
}

check_own_folders() { # paths
  local folder
  refuse_links "$@"
  for folder in "$@"; do check_folder "$folder"; done
}

# One lock for the node: a configuration test reads all certificates of a service, and none may be in its switch.
lock_this_node() {
  check_own_folders "${own_folders[@]}"
  make_run_folder_private
  refuse_links "$RUN/lock" "$RUN/install.lock" "$RUN/aws-error"
  exec 9>>"$RUN/install.lock"
  (exec_for "${BUDGET[lock]}" flock 9) || fail busy 'another installation holds the lock'
  # The last runs of the first edition are waited for, not for ever: every user can hold its lock.
  if [[ -f $RUN/lock ]]; then
    exec 7>>"$RUN/lock"
    quick flock 7 || say 'the lock of the first edition is held: going on without it'
  fi
}

# Only root can open the lock. The first edition left the folder's mode to the caller's umask.
make_run_folder_private() {
  local facts
  refuse_links "$RUN"
  if [[ -d $RUN ]]; then
    facts=$(exec_quick stat -c %u-%a "$RUN/") || fail write-failed "cannot look at $RUN"
    [[ $facts != "$EUID-700" ]] || return 0
    [[ $facts == "$EUID-"* ]] || refuse "$RUN does not belong to root: remove it"
    must "close $RUN" chmod 0700 "$RUN"
    ((8#${facts#*-} & 8#022)) || return 0
    must "empty $RUN, which others could write to" rm -rf "$RUN"
  fi
  must "make $RUN" mkdir -p -m 0700 "$RUN"
}

# ---- dry run ----

# A dry run takes the real steps up to the configuration test. Memory covers /etc/ssl: nothing reaches the disk.
enter_private_mounts() { # the script's own arguments
  [[ $DryRun == true && ${1-} != --in-private-mounts ]] || return 0
  if quick unshare -m true 2>/dev/null; then
    exec 1>&3 3>&- 8>&-
    exec unshare -m "$BASH" "$0" --in-private-mounts
  fi
  mounts_refused=yes
}

cover_folders() {
  [[ $DryRun == true && -z $mounts_refused ]] || return 0
  must 'mount in private' mount --make-rprivate / # systemd shares mounts: the whole node would see these
  check_own_folders "$RUN/dry-run"
  must "make $RUN/dry-run" mkdir -p "$RUN/dry-run"
  must 'mount memory' mount -t tmpfs -o mode=0700 tmpfs "$RUN/dry-run"
  make_folders "${SSL%/*}" "$SSL" # only a folder that is there can be covered
  cover_with_memory "$SSL" ssl
  cover_with_memory "$SSL/certs" certs # on some distributions a link to elsewhere
  cover_with_memory "$SSL/private" private
}

cover_with_memory() { # folder, name of its copy
  [[ -d $1 ]] || return 0
  local folder
  folder=$(exec_quick readlink -f "$1")
  must "copy $1" cp -a "$folder" "$RUN/dry-run/$2"
  must "cover $1" mount --bind "$RUN/dry-run/$2" "$folder"
}

refuse_dry_run_on_disk() {
  [[ -z $mounts_refused ]] || fail dry-run-impossible \
    'this node refuses unshare -m: the certificate is right, the rest was not tried'
}

make_folders() { # paths, parents first: all users may read them, whatever the umask
  local folder
  for folder in "$@"; do
    [[ -d $folder ]] || must "make $folder" mkdir -m 0755 "$folder"
  done
}
