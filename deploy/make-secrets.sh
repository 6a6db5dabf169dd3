#!/bin/sh
# Prints the secrets of a new installation as an env file. Make them once, give every node the same, and keep a copy: without
# the pepper no key is known any more, without the sealing key no provider's credential can be opened.
#   (umask 077; sh deploy/make-secrets.sh > deploy/.env)
set -eu
hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
echo "KEYHOUSE_KEY_PEPPER=$(hex 32)"
echo "KEYHOUSE_SEALING_KEY=$(hex 32)"
echo "KEYHOUSE_METRICS_TOKEN=$(hex 24)"
echo "POSTGRES_PASSWORD=$(hex 24)"
