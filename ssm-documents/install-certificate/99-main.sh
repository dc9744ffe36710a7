# ---- the steps ----

main() {
  open_channels

  step check-parameters
  read_parameters
  step check-tools
  check_tools
  step check-allowed-names
  check_allowed_names
  enter_private_mounts "$@"
  step take-lock
  lock_this_node
  begin_phase prepare
  cover_folders

  step check-installed
  read_what_is_installed
  check_owner
  leave_what_was_cut_off
  refuse_rollout
  if is_unchanged; then
    result_serial=${current%-*} outcome=unchanged
    record_rollout
    is_to_heal || return 0
  else
    step read-bundle
    read_bundle
    parse_bundle
    step verify-certificate
    read_certificate
    step verify-pair
    check_key
    step verify-chain
    check_chain
    find_out_authority
  fi

  step check-node
  refuse_dry_run_on_disk
  check_paths
  check_trust_folder
  check_hooks
  record_rollout
  check_services
  note_what_is_served

  if [[ $outcome == unchanged ]]; then
    begin_phase use
  else
    step stage
    stage_version
    begin_phase use
    step switch
    switch_to_version
  fi
  step test-config
  test_configurations
  if [[ $DryRun == true ]]; then
    outcome=dry-run-passed
    return 0
  fi
  stop_at_dead_service

  step run-hooks
  run_hooks
  step reload
  use_in_services
  step verify-port
  verify_port
  step complete
  outcome=installed
  conclude .completed
  step remove-old-versions
  remove_old_versions
}

main "$@"
