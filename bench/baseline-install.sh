#!/bin/bash
# What an install is measured against: the bare sequence of openssl calls and file moves that the document of the
# original sample makes (aws-samples/sample-acm-export-cert-automation). Nothing is checked, nothing is reloaded,
# there is no way back. Not for use: the work files are readable, the passphrase is an argument, and a server that
# starts in the middle finds the new certificate beside the old key.
#
# Differences from the original, all in favour of this baseline: the fields come out of the JSON without a process
# each, the modes and owners of the files are not set, and `openssl pkey` reads EC keys too.
# shellcheck disable=SC2154 # SSM_* come from the environment, the others from field
set -e

root=${ACM_EXPORT_ROOT:?a folder that stands for /}
ssl=$root/etc/ssl work=$root/tmp/$SSM_CertName
mkdir -p "$work" "$ssl/certs" "$ssl/private"

bundle=$(aws secretsmanager get-secret-value --secret-id "$SSM_SecretArn" --version-id "$SSM_VersionId" \
  --region "$AWS_SSM_REGION_NAME" --query SecretString --output text)

field() { # name, variable
  local pattern="\"$1\":\"([^\"]+)\""
  [[ $bundle =~ $pattern ]]
  printf -v "$2" '%b' "${BASH_REMATCH[1]}"
}
field Certificate certificate
field CertificateChain chain
field PrivateKey encrypted_key
field Passphrase passphrase

printf '%s%s' "$certificate" "$chain" >"$work/fullchain.pem"
printf '%s' "$chain" >"$work/chain.pem"
printf '%s' "$encrypted_key" >"$work/encrypted-key.pem"
openssl pkey -in "$work/encrypted-key.pem" -out "$work/privkey.pem" -passin "pass:$passphrase"

mv "$work/fullchain.pem" "$ssl/certs/$SSM_CertName-fullchain.pem"
mv "$work/chain.pem" "$ssl/certs/$SSM_CertName-chain.pem"
mv "$work/privkey.pem" "$ssl/private/$SSM_CertName-privkey.pem"
rm -r "$work"

# The original reloads nothing: an administrator does it by hand.
for unit in $SSM_ReloadServices; do
  systemctl reload "$unit"
done
