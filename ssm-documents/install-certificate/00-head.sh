#!/bin/bash
# Installs one version of one certificate on this node, as root, started by the SSM Agent. Start reading at main.
# One rename switches all files. After a fault the script undoes it, lets services load the old files, and proves it.
# The agent passes variables SSM_<parameter>; the result is one line of JSON on standard output.
# Key and passphrase live in variables that are never exported, and reach openssl through pipes only. No here-documents
# or here-strings: bash writes those to temporary files.
