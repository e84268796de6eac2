#!/bin/sh
# Prints the SSLConfig for --ssl_config_file, in protobuf's text format, from PEM files:
#
#   write_ssl_config.sh SERVER_KEY SERVER_CERTIFICATE [AUTHORITY_OF_THE_CLIENTS] > ssl.config
#
# With the third file every client must show a certificate that it signed (mutual TLS).
# The message holds the PEM text itself, not paths: tensorflow/serving tensorflow_serving/config/ssl_config.proto and
# BuildServerCredentialsFromSSLConfigFile in model_servers/server.cc.
set -eu

if [ "$#" -lt 2 ] || [ "$#" -gt 3 ]; then
  echo "usage: write_ssl_config.sh SERVER_KEY SERVER_CERTIFICATE [AUTHORITY_OF_THE_CLIENTS] > ssl.config" >&2
  exit 2
fi

# One string a line; strings that follow each other are one value.
field() {
  printf '%s:\n' "$1"
  sed 's/.*/  "&\\n"/' "$2"
}

for file in "$@"; do
  grep -q -e '-----BEGIN ' "$file" || { echo "write_ssl_config.sh: $file must be a PEM file" >&2; exit 2; }
done
field server_key "$1"
field server_cert "$2"
if [ "$#" -eq 3 ]; then
  field custom_ca "$3"
  echo "client_verify: true"
fi
