# ---- limits and state ----

set +eu # a fault in one place costs no other line
umask 077
ulimit -c 0 # a core file would hold what openssl reads of a key
export LC_ALL=C HOME="${HOME:-/root}"

# Seconds of each part. The agent kills the script after 120 (look-at-node.yaml).
declare -rA BUDGET=([certificates]=60 [endpoints]=30)

# Seconds of one program, or what its part has left. look_at_port sets [port].
declare -A LIMIT=([file]=10 [port]=2 [all-of-port]=18)

# Looked at side by side: a silent port holds up the others of its eight only.
declare -r AT_ONCE=8
declare -r MOST_PORTS=32

# Ports of protocols that begin in clear text. Their servers would log the bytes of TLS as an attack, lock the client
# out after some tries (MySQL), keep them as an entry or a measurement (514 and 601: syslog, 2003: Graphite, 24224: Fluentd),
# or print them (515 and 9100 to 9107: printers).
declare -r NOT_ASKED=' 21 22 23 25 110 143 389 514 515 587 601 2003 3306 5140 5432 9100 9101 9102 9103 9104 9105 9106 9107 24224 '

CertName='' base='' authority=public VerifyPort='' VerifyName='' VerifyProtocol='' ExtraFormats=''
serial=- ends=- state=missing port=-
