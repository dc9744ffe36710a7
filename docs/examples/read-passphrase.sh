#!/bin/bash
# Prints the passphrase of an encrypted key (KeyFormat encrypted) or PKCS 12 file that acm-export delivered to
# this node. It reads the very version of the bundle from which the key came, as the node's own role: so it must
# run as a user who may use that role, on EC2 anybody who reaches the instance metadata service.
#
#   read-passphrase.sh CERT_NAME
#
# Apache httpd:  SSLPassPhraseDialog "exec:/usr/local/bin/web-passphrase", a script of one line:
#                exec /usr/local/bin/read-passphrase.sh web
# nginx:         ssl_password_file /run/nginx-passphrase, a pipe (mkfifo -m 0600) that a unit started before
#                nginx writes to: read-passphrase.sh web >/run/nginx-passphrase
#
# Never store what it prints, and never pass it as an argument: hand it on through a pipe.
set -euo pipefail

reference=${ACM_EXPORT_ROOT:-}/etc/ssl/acm-export/${1:?usage: read-passphrase.sh CERT_NAME}/current/bundle-reference
secret_arn='' version_id=''
while IFS='=' read -r name value; do
  case $name in
    SecretArn) secret_arn=$value ;;
    VersionId) version_id=$value ;;
  esac
done <"$reference"
region=${secret_arn#arn:*:secretsmanager:}

bundle=$(aws secretsmanager get-secret-value --secret-id "$secret_arn" --version-id "$version_id" \
  --region "${region%%:*}" --query SecretString --output text)

# The passphrase may hold escaped quotes and backslashes, which two control characters stand for while it is found.
backslashes=\\\\
bundle=${bundle//"$backslashes"/$'\1'}
bundle=${bundle//'\"'/$'\2'}
pattern='"Passphrase"[[:space:]]*:[[:space:]]*"([^"]+)"'
if ! [[ $bundle =~ $pattern ]]; then
  echo "the bundle $secret_arn has no passphrase" >&2
  exit 1
fi
escaped_slash='\/'
passphrase=${BASH_REMATCH[1]//"$escaped_slash"//}
printf -v passphrase '%b' "$passphrase" # the other escapes of JSON are also those of %b
passphrase=${passphrase//$'\2'/\"}
printf '%s\n' "${passphrase//$'\1'/\\}"
