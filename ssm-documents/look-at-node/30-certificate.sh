# ---- a certificate of ours ----

list_certificates() { # sets certificates to the names that have a record
  local folder name
  certificates=()
  for folder in "$SSL"/acm-export/*; do
    name=${folder##*/}
    [[ $name =~ $CERT_NAME && $name != *..* && ! -L $folder ]] || continue
    [[ ! -f $folder/record || -L $folder/record || ! -r $folder/record ]] || certificates+=("$name")
  done
}

# Alone in its subshell. The folder in which it looks stays the same one, even if an install switches meanwhile.
look_at_certificate() { # name: prints its line
  local line='' owner=- number=0
  CertName=$1 base=$SSL/acm-export/$1
  IFS= read -r -n 200 line <"$base/record"
  if [[ $line =~ ^([0-9a-f]{24})\ ([0-9]{1,15})\ ([^ ]+)$ ]]; then
    owner=${BASH_REMATCH[1]} number=$((10#${BASH_REMATCH[2]}))
  fi
  if cd -P "$base/current" 2>/dev/null; then
    read_options
    look_at_files
    [[ -z $VerifyPort ]] || look_at_port
    [[ . -ef $base/current ]] || state=unfinished
  fi
  [[ ! -e $base/.unfinished ]] || state=unfinished
  printf 'certificate\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$CertName" "$owner" "$number" "$serial" "$ends" "$state" "$port"
}

# As note_options of the install script writes them.
read_options() {
  local fields=() field
  [[ ! -f .options ]] || IFS='|' read -r -a fields <.options
  [[ ! ${fields[2]-} =~ ^[1-9][0-9]{0,4}$ ]] || ((fields[2] > 65535)) || VerifyPort=${fields[2]}
  ExtraFormats=${fields[4]-}
  for field in "${fields[@]:7}"; do
    case $field in
      VerifyName=*) [[ ! ${field#*=} =~ $VERIFY_NAME ]] || VerifyName=${field#*=} ;;
      VerifyProtocol=*) [[ ! ${field#*=} =~ $VERIFY_PROTOCOL ]] || VerifyProtocol=${field#*=} ;;
    esac
  done
}

look_at_files() { # sets serial, ends and state
  local file needed=(cert.pem chain.pem fullchain.pem privkey.pem .sha256)
  [[ ${PWD##*/} != "$ADOPTED" ]] || needed=(fullchain.pem chain.pem privkey.pem) # as the other tool had them
  certificate=${needed[0]}
  if [[ -f $certificate ]]; then
    read_facts "$certificate"
    serial=$found_serial ends=$found_ends
  fi
  [[ $ExtraFormats != *combined-pem* ]] || needed+=(combined.pem)
  [[ $ExtraFormats != *pkcs12* ]] || needed+=(bundle.p12)
  for file in "${needed[@]}"; do
    [[ -f $file ]] || return
  done
  state=ok
  if [[ -f .sha256 ]] && ! sums_are_right "${needed[@]}"; then
    state=damaged:sums
  elif ! is_a_pair; then
    state=damaged:pair
  elif ! links_are_right; then
    state=damaged:links
  fi
}

sums_are_right() { # files
  local file sums
  sums=$(<.sha256)
  for file in "$@"; do
    [[ $file == .sha256 || $sums == *"  ./$file"* ]] || return 1
  done
  quick sha256sum --status -c .sha256 2>/dev/null
  (($? != 1)) # a time-out says nothing
}

# The passphrase of an encrypted key is not on the node: only the sum tells of it.
is_a_pair() {
  local first='' second='' of_certificate of_key status
  {
    read -r first
    read -r second
  } <privkey.pem
  [[ $first$second != *ENCRYPTED* ]] || return 0
  of_certificate=$(exec_openssl x509 -noout -pubkey -in "$certificate" 2>/dev/null) || return 0
  of_key=$(exec_openssl pkey -pubout -in privkey.pem -passin pass: 2>/dev/null)
  status=$?
  ((status >= 124)) || [[ $of_key == "$of_certificate" ]] # from 124 on openssl was not there, or did not end
}

links_are_right() {
  local i
  [[ ${PWD##*/} != "$ADOPTED" ]] || return 0 # the other tool's own files may stand there
  [[ ! -e .private ]] || authority=private
  list_links
  for i in "${!links[@]}"; do
    ! is_wanted "$i" || [[ -L ${links[i]} && ${links[i]} -ef ${files[i]} ]] || return 1
  done
}
