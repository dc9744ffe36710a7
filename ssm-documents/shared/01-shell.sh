# ---- both scripts begin with this ----

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # if a plain sh was started

# SHELLOPTS and BASHOPTS of the caller could change what all this means, or print the key.
set +a +v +x +o posix
shopt -u failglob nullglob nocaseglob nocasematch dotglob
unset GLOBIGNORE

declare -r KILL=5 # more seconds for a program that ignores SIGTERM
declare -r ADOPTED=00-0 # the version that the files of another tool become
ROOT=${ACM_EXPORT_ROOT:-} # empty on a node; in tests a folder that stands for /
SSL=$ROOT/etc/ssl
