#!/bin/bash
# Makes the folder of one Debian release, with the packages named, by debootstrap. Runs as PID 1 of a namespace of its
# own: when it ends, or when the process that started it ends (standard input closes), all is killed and nothing stays mounted.
#
#   make-release.sh <folder> <codename> <packages, with commas> [<mirror>]
#
# Two at once: the second one waits, and finds it made.
set -euo pipefail

folder=$1 codename=$2 packages=$3
mirror=("${@:4}")

make_release() {
  local partial=$folder.partial
  exec 9>"$folder.lock"
  flock 9
  [[ ! -d $folder ]] || return 0
  rm -rf --one-file-system "$partial"

  debootstrap --foreign --variant=minbase --include="$packages" "$codename" "$partial" ${mirror[@]+"${mirror[@]}"}
  # Packages must not start their servers here; and a folder that can be made again need not survive a power failure.
  printf '#!/bin/sh\nexit 101\n' >"$partial/usr/sbin/policy-rc.d"
  chmod 0755 "$partial/usr/sbin/policy-rc.d"
  mkdir -p "$partial/etc/dpkg/dpkg.cfg.d"
  echo force-unsafe-io >"$partial/etc/dpkg/dpkg.cfg.d/unsafe-io"
  chroot "$partial" /debootstrap/debootstrap --second-stage

  rm -rf "$partial/var/cache/apt/archives" "$partial/var/lib/apt/lists"
  mv "$partial" "$folder"
}

exec 3<&0
make_release </dev/null 3<&- &
work=$!
cat <&3 >/dev/null &
wait -n || true
! kill -0 "$work" 2>/dev/null || exit 1
wait "$work"
