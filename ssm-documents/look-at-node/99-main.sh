# ---- the look ----

in_parallel() { # function that prints a line or nothing, words, one for each call: sets answers, in their order
  local act=$1 word fd line fds
  shift
  answers=()
  while (($# > 0)); do
    fds=()
    for word in "${@:1:AT_ONCE}"; do
      exec {fd}< <("$act" "$word")
      fds+=("$fd")
    done
    shift $(($# < AT_ONCE ? $# : AT_ONCE))
    for fd in "${fds[@]}"; do
      ! IFS= read -r line <&"$fd" || answers+=("$line")
      exec {fd}<&-
    done
  done
}

main() {
  local line field known=' ' ours=' ' certificate_lines endpoint_lines=0
  begin_phase certificates
  list_certificates
  in_parallel look_at_certificate "${certificates[@]}"
  certificate_lines=${#answers[@]}
  for line in "${answers[@]}"; do
    lines "$line"
    IFS=$'\t' read -r -a field < <(lines "$line")
    known+="${field[4]} " ours+="${field[7]%%=*} "
  done
  if [[ ${SSM_Discover-true} == true && ! -e $ROOT/etc/acm-export/no-discovery ]]; then
    begin_phase endpoints
    LIMIT[port]=2
    list_listeners
    choose_ports "$ours"
    in_parallel look_at_endpoint "${ports[@]}"
    for line in "${answers[@]}"; do
      IFS=$'\t' read -r -a field < <(lines "$line")
      [[ ${field[2]} == - || $known != *" ${field[2]} "* ]] || continue
      lines "$line"
      ((++endpoint_lines))
    done
  fi
  printf 'end\t%d\t%d\n' "$certificate_lines" "$endpoint_lines"
}

main "$@"
