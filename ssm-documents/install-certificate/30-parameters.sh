# ---- parameters and tools ----

# The document checks the same patterns; this script does not rely on its caller.
take() { # name, pattern, default (without one the parameter is required)
  local variable=SSM_$1
  if [[ -z ${!variable+set} && $# -lt 3 ]]; then
    AfterCanary=true # no rollout lets such a node go first
    fail agent-too-old "$variable is not set: the SSM Agent is older than 3.3.2746.0, update it"
  fi
  local given=${!variable-${3-}}
  [[ $given =~ ^($2)$ ]] || fail bad-parameter "parameter $1 does not have its form"
  printf -v "$1" '%s' "$given"
}

never() { # name, pattern that its value must not have
  [[ ! ${!1} =~ ^($2)$ ]] || fail bad-parameter "parameter $1 cannot have this value"
}

most() { # name, highest number
  [[ -z ${!1} ]] || ((${!1} <= $2)) || fail bad-parameter "parameter $1 is above $2"
}

read_parameters() {
  take_parameters
  [[ -z $ExcludeNodeIds || " $ExcludeNodeIds " != *" ${AWS_SSM_INSTANCE_ID/i-/} "* ]] ||
    fail left-out 'the deployment leaves this node out'
  check_secret
  check_units_once
  note_options
  options="$DeploymentId $VersionId|$options"

  base=$SSL/acm-export/$CertName
  versions=$base/versions
  own_folders=("$SSL/acm-export" "$base" "$versions")
  list_links
}

# A bundle is installed under the name, and for the deployment, for which it was made.
check_secret() {
  [[ ${SecretArn##*:} =~ ^[^/]+/"$CertName/$DeploymentId"-[A-Za-z0-9]{6}$ ]] ||
    fail bad-parameter 'parameter SecretArn is not the bundle of CertName and DeploymentId'
}

check_units_once() {
  local unit
  for unit in $RestartServices; do
    [[ " ${ReloadServices//.service/} " != *" ${unit%.service} "* ]] || # nginx is nginx.service
      fail bad-parameter "parameters RestartServices and ReloadServices both name $unit"
  done
}

config_tester() { # systemd unit: sets tester to the test of its configuration, if one is known
  tester=()
  case ${1%.service} in
    nginx) tester=(nginx -t) ;;
    httpd | apache2) tester=(apachectl configtest) ;;
    haproxy) tester=(haproxy -c) ;;
  esac
}

check_tools() {
  local unit tools='aws chgrp chmod chown cp flock ln mkdir mv openssl readlink rm sha256sum sleep stat sync timeout'
  [[ $DryRun == false ]] || tools+=' mount unshare'
  [[ -z $KeyGroup || $EUID != 0 ]] || tools+=' setpriv test'
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 402)) || tools+=' bash-4.2'
  need missing-tool "$tools"
  for unit in $ReloadServices $RestartServices; do
    config_tester "$unit"
    need service-not-running "systemctl ${tester[0]-}" # what the order names may be wrong
  done
}

need() { # kind of fault, names of programs
  local tool missing=''
  for tool in $2; do
    type -P "$tool" >/dev/null || missing+=" $tool"
  done
  [[ -z $missing ]] || fail "$1" "this node lacks$missing"
}

# The owner of this node may take fewer names than the account allows. A list that others may have changed allows none.
check_allowed_names() {
  local line list=$ROOT/etc/acm-export/allowed-names why="does not allow $CertName: the administrator of the server may add it"
  is_there "$list" || return 0
  if [[ ! -f $list || -L $list || ! -r $list ]] || ! only_roots "${list%/*}" "$list"; then
    fail name-refused "the server's own $list is no file that only root can write to"
  fi
  while read -r line || [[ -n $line ]]; do
    if [[ ! $line =~ ^([A-Za-z0-9._-]*[*]?)[[:space:]]*(#|$) ]]; then
      why='has a line that is no name'
      break
    fi
    line=${BASH_REMATCH[1]}/ # no name has a slash
    [[ $CertName/ != "${line%\*/}"* ]] || why=''
  done <"$list"
  [[ -z $why ]] || fail name-refused "the server's own $list $why"
}
