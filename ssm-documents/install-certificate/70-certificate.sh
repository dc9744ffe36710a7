# ---- checking it ----

read_certificate() {
  local text found
  text=$(exec_openssl x509 -noout -serial -text -in <(lines "$leaf") 2>/dev/null) ||
    fail certificate-invalid 'openssl cannot read the certificate'
  found=${text#*serial=}
  found=${found%%$'\n'*}
  found=${found,,}
  [[ ${found#"${found%%[!0]*}"} == "${serial#"${serial%%[!0]*}"}" ]] || # but for leading zeros
    fail certificate-invalid "the certificate has serial $found, not $serial as the bundle says"
  public_key_of "${text%%X509v3 extensions:*}"
  leaf_key=$public_key
  names_in "$text"
  ((${#names[@]} > 0)) || fail certificate-invalid 'the certificate is for no DNS name'
}

check_key() {
  local text
  text=$(exec_openssl pkey -text_pub -in <(lines "$ENCRYPTED_KEY") \
    -passin fd:4 4< <(lines "$PASSPHRASE") 2>/dev/null) ||
    fail key-unreadable 'the passphrase in the bundle does not open the private key'
  PRIVATE_KEY=${text%%-----END PRIVATE KEY*}'-----END PRIVATE KEY-----'
  public_key_of "$text"
  [[ $public_key == "$leaf_key" ]] || fail key-mismatch 'the private key belongs to another certificate'
}

public_key_of() { # what openssl prints of a certificate or key: sets public_key to its numbers
  public_key=${1##*Public-Key:}
  public_key=${public_key//[[:space:]]/}
}

# The next certificate must have signed each one: servers send them in this order.
check_chain() {
  local path=("$leaf" "${chain[@]}") i
  for i in "${!chain[@]}"; do
    check_signed_by_next "${path[i]}" "${chain[i]}" "$i" "$((i + 1 == ${#chain[@]}))"
  done
}

check_signed_by_next() { # certificate, the next one, position (0 is the leaf), 1 if the next one is the last
  local said line expired which="certificate $3 of the chain"
  [[ $3 != 0 ]] || which='the certificate'
  expired="$which or the next one has expired"
  [[ ${1//$'\n'/} != "${2//$'\n'/}" ]] || fail chain-invalid "$which is there twice"
  said=$(exec_openssl verify -partial_chain -trusted <(lines "$2") <(lines "$1") 2>&1) || true
  # The text decides, line by line: openssl goes on after an error on dates, and the oldest one then says OK.
  while IFS= read -r line; do
    [[ $line =~ error\ ([0-9]+)\ at\ ([0-9]+)\ depth ]] || continue
    case ${BASH_REMATCH[1]}-${BASH_REMATCH[2]}-$3-$4 in
      10-0-0-?) fail certificate-expired "the certificate has expired by this node's clock" ;;
      9-0-0-?) fail certificate-not-yet-valid "the certificate is not yet valid by this node's clock" ;;
      10-1-[1-9]*-1) is_not_needed "$2" || fail chain-invalid "$expired" ;;
      10-*) fail chain-invalid "$expired" ;;
      *) fail chain-invalid "$which is not issued by the next one: wrong order, or one is missing" ;;
    esac
    said=OK
  done < <(lines "$said")
  [[ $said == *OK* ]] || fail chain-invalid "openssl cannot verify $which"
}

# An expired one at the chain's end does no harm if it is a root, or if the leaf is good without it.
is_not_needed() { # last certificate of the chain
  local names
  names=$(exec_openssl x509 -noout -subject -issuer -in <(lines "$1") 2>/dev/null) || return 1
  names=${names#subject=}
  [[ ${names%%$'\n'*} == "${names##*issuer=}" ]] ||
    is_verified_here "${chain[@]:0:${#chain[@]}-1}" || return 1
  note 'the last certificate of the chain has expired; nothing needs it'
}

# By the distribution's list of authorities, and nothing that was installed here.
is_verified_here() { # certificates between the leaf and the root
  local list said
  for list in "$SSL/certs/ca-certificates.crt" "$ROOT/etc/pki/tls/certs/ca-bundle.crt" "$SSL/ca-bundle.pem"; do
    [[ -f $list ]] || continue
    said=$(exec_openssl verify -CAfile "$list" -untrusted <(lines "$@") <(lines "$leaf") 2>&1) || true
    [[ $said != *OK* || $said == *rror* ]] || return 0
  done
  return 1
}

# Programs trust every certificate in a trust folder. So it may hold only what every machine trusts anyway.
find_out_authority() {
  authority=public
  is_verified_here "${chain[@]}" || authority=private
}
