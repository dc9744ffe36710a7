# `make render` writes this part, from functions/domain.
declare -r CERT_NAME='^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$'
declare -r VERIFY_NAME='^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$'
declare -r VERIFY_PROTOCOL='^(imap|pop3|smtp|ftp|ldap|postgres|mysql)$'
