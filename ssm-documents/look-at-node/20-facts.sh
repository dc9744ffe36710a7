# ---- what openssl says of a certificate ----

read_facts() { # file, more options of x509: sets found_serial, found_ends, issuer and subject
  local text line months=JanFebMarAprMayJunJulAugSepOctNovDec before
  found_serial=- found_ends=- issuer=- subject=-
  text=$(exec_openssl x509 -noout -serial -enddate "${@:2}" -in "$1" 2>/dev/null)
  while IFS= read -r line; do
    if [[ $line =~ ^serial=([0-9A-F]{1,64})$ ]]; then
      found_serial=${BASH_REMATCH[1],,}
    elif [[ $line =~ ^notAfter=([A-Z][a-z]{2})\ +([0-9]{1,2})\ ([0-9:]{8})\ ([0-9]{4})\ GMT$ ]]; then
      before=${months%%"${BASH_REMATCH[1]}"*}
      printf -v found_ends '%s-%02d-%02dT%sZ' \
        "${BASH_REMATCH[4]}" $((${#before} / 3 + 1)) $((10#${BASH_REMATCH[2]})) "${BASH_REMATCH[3]}"
    elif [[ $line =~ ^(issuer|subject)=\ ?(.+)$ ]]; then
      plain_text "${BASH_REMATCH[2]}"
      printf -v "${BASH_REMATCH[1]}" '%s' "$plain"
    fi
  done < <(lines "$text")
}

plain_text() { # text that anybody may have chosen: sets plain to what is fit to print of it
  plain=${1//[^ -~]/}
  plain=${plain//PRIVATE KEY/...}
  plain=${plain:0:100}
  plain=${plain:--}
}
