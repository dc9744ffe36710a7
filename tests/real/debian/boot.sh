#!/bin/bash
# Boots a machine from the folder of a Debian release, as PID 1 of namespaces of its own (mounts, processes, network,
# IPC). What is written goes to memory: the release is never changed, and any number of machines run at once. The
# machine runs until standard input closes, so it ends with the process that started it; then the kernel ends all its processes
# and drops its mounts.
#
#   boot.sh <release's folder> <empty folder>       prints its PID, as the outside sees it, when it is up
set -euo pipefail

release=$1 place=$2
read -r pid _ </proc/self/stat

mount -t tmpfs -o mode=0700 tmpfs "$place"
cd "$place"
mkdir release written work root
mount --bind "$release" release
mount -t overlay -o lowerdir=release,upperdir=written,workdir=work overlay root
cd root
mount -t proc proc proc
mount -t tmpfs tmpfs dev/shm
chroot . ip link set lo up

# What systemd does at boot with what packages bring: folders in /run, and units that generators make.
# shellcheck disable=SC2016 # expands in the machine
exec chroot . /bin/bash -euo pipefail -c '
  cat /usr/lib/tmpfiles.d/*.conf | while read -r type path mode user group _; do
    [[ $type != d ]] || install -d -m "$mode" -o "$user" -g "$group" "$path"
  done
  mkdir -p /run/systemd/generator /run/systemd/system # the latter tells packages that systemd runs
  for generator in /lib/systemd/system-generators/*; do
    [[ ! -x $generator ]] || "$generator" /run/systemd/generator /run/systemd/generator /run/systemd/generator
  done
  echo "$0"
  while read -r _; do :; done
' "$pid"
