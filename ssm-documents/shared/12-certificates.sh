# ---- certificates as text ----

# Keeps the certificates and drops the text around them: not every server reads past it.
split_certificates() { # text: sets CERTIFICATES
  local line block='' IFS=$'\n'
  CERTIFICATES=()
  set -f
  for line in $1; do
    line=${line%$'\r'}
    case $line in
      '-----BEGIN CERTIFICATE-----') block=$line$'\n' ;;
      '-----END CERTIFICATE-----') [[ -z $block ]] || CERTIFICATES+=("$block$line"); block='' ;;
      *) [[ -z $block ]] || block+=$line$'\n' ;;
    esac
  done
  set +f
}

names_in() { # what openssl prints of a certificate: sets names to its DNS names
  local text=${1##*Subject Alternative Name:} name IFS=', '
  text=${text#*$'\n'} # the names are on the next line
  names=()
  set -f # a wildcard name is no pattern for files
  for name in ${text%%$'\n'*}; do
    [[ ! $name =~ ^DNS:((\*\.)?[A-Za-z0-9._-]+)$ ]] || names+=("${BASH_REMATCH[1]}")
  done
  set +f
}
