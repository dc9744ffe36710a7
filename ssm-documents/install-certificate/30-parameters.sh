# ---- parameters and tools ----

# The document checks the same patterns; this script does not rely on who started it.
take_parameter() { # name, pattern, default (without one the parameter is required)
  local variable=SSM_$1
  if [[ -z ${!variable+set} && $# -lt 3 ]]; then
    fail agent-too-old "$variable is not set: the SSM Agent is older than 3.3.2746.0, update it"
  fi
  local given=${!variable-${3-}}
  [[ $given =~ ^($2)$ ]] || fail bad-parameter "parameter $1 does not have its form"
  printf -v "$1" '%s' "$given"
}

read_parameters() {
  local unit='[A-Za-z0-9][A-Za-z0-9:_.@-]*'
  take_parameter CorrelationId '[A-Za-z0-9-]{1,64}'
  take_parameter CertName '[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?'
  take_parameter DeploymentId '[a-f0-9]{24}'
  take_parameter RolloutNumber '0|[1-9][0-9]{0,14}'
  take_parameter VersionId '[a-f0-9]{64}'
  take_parameter SecretArn 'arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+'
  take_parameter ReloadServices "($unit( $unit){0,4})?" ''
  take_parameter RestartServices "($unit( $unit){0,4})?" ''
  take_parameter VerifyPort '0|[1-9][0-9]{0,4}' 0
  take_parameter KeyFormat 'decrypted|encrypted' decrypted
  take_parameter ExtraFormats '((combined-pem|pkcs12)( (combined-pem|pkcs12))?)?' ''
  take_parameter KeyMode '(0600|0640|0400|0440)?' ''
  take_parameter KeyGroup '([A-Za-z0-9_.][A-Za-z0-9_.-]{0,30}[A-Za-z0-9_.$-]?)?' ''
  take_parameter DryRun 'true|false' false
  [[ $CertName != *..* ]] || fail bad-parameter 'parameter CertName holds two dots in a row'
  ((VerifyPort <= 65535)) || fail bad-parameter 'parameter VerifyPort is above 65535'
  [[ ! $KeyGroup =~ ^([0-9]+|\.\.?)$ ]] || fail bad-parameter 'parameter KeyGroup is not the name of a group'
  check_units_once
  # Without RestartServices as the first edition wrote it: what it installed stays unchanged.
  options="$DeploymentId $VersionId|$ReloadServices|$VerifyPort|$KeyFormat|$ExtraFormats|$KeyMode|$KeyGroup${RestartServices:+|$RestartServices}"

  base=$SSL/acm-export/$CertName versions=$SSL/acm-export/$CertName/versions
  links=("$SSL/certs/$CertName-fullchain.pem" "$SSL/certs/$CertName-chain.pem" "$SSL/private/$CertName-privkey.pem")
  files=(fullchain.pem chain.pem privkey.pem) # links[i] leads to files[i] of the version that is switched on
  [[ $ExtraFormats != *combined-pem* ]] || { links+=("$SSL/private/$CertName-combined.pem") files+=(combined.pem); }
  [[ $ExtraFormats != *pkcs12* ]] || { links+=("$SSL/private/$CertName.p12") files+=(bundle.p12); }
}

check_units_once() {
  local unit
  for unit in $RestartServices; do
    [[ " ${ReloadServices//.service/} " != *" ${unit%.service} "* ]] || # nginx is nginx.service
      fail bad-parameter "parameter RestartServices names $unit, which ReloadServices names too"
  done
}

config_tester() { # systemd unit: sets tester to the program that tests its configuration, if one is known
  case ${1%.service} in
    nginx) tester=nginx ;;
    httpd | apache2) tester=apachectl ;;
    haproxy) tester=haproxy ;;
    *) tester='' ;;
  esac
}

check_tools() {
  local unit tool missing=''
  local tools='aws chgrp chmod chown cp flock ln mkdir mv openssl readlink rm sha256sum sleep stat sync timeout'
  for unit in $ReloadServices $RestartServices; do
    config_tester "$unit"
    tools+=" systemctl $tester"
  done
  [[ $DryRun == false ]] || tools+=' mount unshare'
  [[ -z $KeyGroup || $EUID != 0 ]] || tools+=' setpriv test'
  for tool in $tools; do
    type -P "$tool" >/dev/null || missing+=" $tool"
  done
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 402)) || missing+=' bash-4.2'
  [[ -z $missing ]] || fail missing-tool "this node lacks$missing"
}
