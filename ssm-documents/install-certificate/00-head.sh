#!/bin/bash
# Installs one version of one certificate on this node, as root, started by the SSM Agent.
#
# Services serve the certificate that they served before, or the new one, whole: one rename switches all files. After a
# fault the script undoes the rename, lets services load the old files again, and proves it.
# Start reading at main, at the end. The agent passes variables SSM_<parameter>; the result is one line of JSON on
# standard output.
#
# Key and passphrase live in variables of this shell, are never exported, and reach openssl through pipes only.
# No here-documents or here-strings: bash writes those to temporary files.
