#!/usr/bin/env bash
# A small private certificate authority for the broker and those who connect to it. Needs openssl (1.1.1 or newer) only.
#
#   make-certs.sh DIR ca [NAME]            DIR/ca.pem, DIR/ca.key       (10 years; keep ca.key off the broker)
#   make-certs.sh DIR server HOST [HOST..] DIR/server.pem, server.key   (names and addresses that clients connect to)
#   make-certs.sh DIR client NAME          DIR/NAME.pem, DIR/NAME.key   (an agent id, ingest, platform or reader)
#
# PLANTROOM_CERT_DAYS sets the life of server and client certificates (default 397). Nothing that exists is overwritten.
# Keys are readable by their owner only; hand each machine its own key and ca.pem, nothing else.
set -euo pipefail
umask 077

die() { echo "make-certs: $*" >&2; exit 1; }
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

[ $# -ge 2 ] || usage
dir=$1 what=$2
shift 2
days=${PLANTROOM_CERT_DAYS:-397}
[[ $days =~ ^[1-9][0-9]{0,4}$ ]] || die "PLANTROOM_CERT_DAYS=$days is no number of days"
command -v openssl >/dev/null || die "openssl is missing; install it (apt-get install openssl)"
mkdir -p "$dir"

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

free() { for file in "$@"; do [ ! -e "$file" ] || die "$file is there already; move it away first"; done; }

# sign NAME SUBJECT EXTENSIONS: makes DIR/NAME.key and a certificate that the authority signs.
sign() {
  local name=$1 subject=$2 extensions=$3
  [ -f "$dir/ca.key" ] || die "there is no $dir/ca.key; make the authority first: $0 $dir ca"
  free "$dir/$name.key" "$dir/$name.pem"
  new_key "$dir/$name.key"
  openssl req -new -key "$dir/$name.key" -subj "$subject" |
    openssl x509 -req -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
      -days "$days" -sha256 -extfile <(printf '%s\n' "basicConstraints=critical,CA:false" \
        "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" "$extensions") \
      -out "$dir/$name.pem" 2>/dev/null
  chmod 644 "$dir/$name.pem"
  echo "$dir/$name.pem"
}

case $what in
  ca)
    free "$dir/ca.key" "$dir/ca.pem"
    name=${1:-Plantroom private CA}
    [[ $name =~ ^[A-Za-z0-9\ ._-]{1,60}$ ]] || die "'$name' is no plain name"
    new_key "$dir/ca.key"
    openssl req -x509 -new -key "$dir/ca.key" -sha256 -days 3650 -subj "/CN=$name" -out "$dir/ca.pem" \
      -addext "basicConstraints=critical,CA:true,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign"
    chmod 644 "$dir/ca.pem"
    echo "$dir/ca.pem"
    ;;
  server)
    [ $# -ge 1 ] || usage
    names=
    for host in "$@"; do
      if [[ $host =~ ^[0-9.]+$ || $host == *:* ]]; then kind=IP; else kind=DNS; fi
      [[ $host =~ ^[A-Za-z0-9.:-]{1,253}$ ]] || die "'$host' is no host name or address"
      names+="${names:+,}$kind:$host"
    done
    sign server "/CN=$1" "keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=$names"
    ;;
  client)
    [ $# -eq 1 ] || usage
    [[ $1 =~ ^[a-z0-9][a-z0-9_-]{0,47}$ ]] || die "'$1' is no id: use 1 to 48 of a-z, 0-9, _ and -"
    [ "$1" != ca ] && [ "$1" != server ] || die "'$1' is taken"
    sign "$1" "/CN=$1" "keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth"
    ;;
  *) usage ;;
esac
