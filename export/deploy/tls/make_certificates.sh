#!/bin/sh
# Makes an authority, a server's and a client's certificate, and the server's ssl.config for mutual TLS. For tests and
# trials: the keys lie in plain files and end after 30 days. In production an authority of yours does this.
#
#   make_certificates.sh DIRECTORY HOST_OR_ADDRESS...
#
# The server's certificate holds for every HOST_OR_ADDRESS, as clients check the name that they connect to.
set -eu

if [ "$#" -lt 2 ]; then
  echo "usage: make_certificates.sh DIRECTORY HOST_OR_ADDRESS..." >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
directory=$1
shift
umask 077
mkdir -p "$directory"
cd "$directory"

names=
for name in "$@"; do
  case $name in
    *[!0-9.]*) names="$names${names:+,}DNS:$name" ;;
    *) names="$names${names:+,}IP:$name" ;;
  esac
done

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }

sign() { # NAME SUBJECT EXTENSIONS
  key "$1.key"
  printf '%s\n' "$3" > "$1.extensions"
  openssl req -new -sha256 -key "$1.key" -subj "/CN=$2" |
    openssl x509 -req -sha256 -days 30 -CA ca.crt -CAkey ca.key -CAcreateserial -extfile "$1.extensions" -out "$1.crt" 2> /dev/null
  rm "$1.extensions"
}

key ca.key
openssl req -x509 -new -sha256 -days 30 -key ca.key -subj "/CN=test authority" -out ca.crt \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
sign server "$1" "subjectAltName=$names
extendedKeyUsage=serverAuth"
sign client "test client" "extendedKeyUsage=clientAuth"
sh "$here/write_ssl_config.sh" server.key server.crt ca.crt > ssl.config
