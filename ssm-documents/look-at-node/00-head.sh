#!/bin/bash
# Looks which certificates this node holds, whether their files are whole, and what its ports serve. As root, started by
# the SSM Agent. It writes nothing, takes no lock, starts no service, calls no AWS service and prints nothing of a key.
#
# Standard output, a record a line, fields with a tab between them, printable ASCII only, `-` for what is not known:
#   certificate <CertName> <DeploymentId> <RolloutNumber> <serial> <NotAfter> <files> <port>
#   endpoint <port> <serial> <NotAfter> <issuer> <subject>
#   end <number of certificate lines> <number of endpoint lines>
# files: ok, missing, unfinished (a run has not ended), damaged:sums, damaged:pair or damaged:links.
# port: `-`, or <port>= and closed, silent, no-tls, or <serial>=<NotAfter> of the certificate that it serves.
#
# Start reading at main, at the end.
