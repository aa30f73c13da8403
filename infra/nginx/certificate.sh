#!/bin/sh
# Puts the door's certificate where nginx looks: the one given, or else a self-signed one that is kept and renewed.
# nginx's image runs this before it starts. Reads DOOR_CERTIFICATES (folder of fullchain.pem and privkey.pem, or empty),
# DOOR_TLS (where nginx looks), DOOR_SERVER_NAME, DOOR_GATEWAY_URL.
set -eu

say() { echo "certificate.sh: $*" >&2; }

case "$DOOR_GATEWAY_URL" in
  *://*/*) say "DOOR_GATEWAY_URL ends with its host and port: no path, no slash"; exit 2 ;;
  http://?* | https://?*) ;;
  *) say "DOOR_GATEWAY_URL must be like http://127.0.0.1:8080"; exit 2 ;;
esac

chain="$DOOR_CERTIFICATES/fullchain.pem" key="$DOOR_CERTIFICATES/privkey.pem"
mkdir -p "$DOOR_TLS"
if [ -s "$chain" ] && [ -s "$key" ]; then
  # Links: after a renewal `nginx -s reload` is enough.
  ln -sf "$chain" "$DOOR_TLS/fullchain.pem"
  ln -sf "$key" "$DOOR_TLS/privkey.pem"
  say "certificate of $DOOR_CERTIFICATES"
  exit 0
fi
if [ -e "$chain" ] || [ -e "$key" ]; then
  say "$DOOR_CERTIFICATES must hold both fullchain.pem and privkey.pem, as files and not empty"
  exit 2
fi

own="$DOOR_TLS/self-signed"
mkdir -p "$own"
good_for_30_days() {
  openssl x509 -in "$own/fullchain.pem" -noout -checkend 2592000 > /dev/null 2>&1 \
    && openssl x509 -in "$own/fullchain.pem" -noout -ext subjectAltName | grep -q "DNS:$DOOR_SERVER_NAME\$"
}
if ! good_for_30_days; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 397 \
    -subj "/CN=$DOOR_SERVER_NAME" -addext "subjectAltName=DNS:$DOOR_SERVER_NAME" \
    -keyout "$own/privkey.pem" -out "$own/fullchain.pem" 2> /dev/null
  say "made a self-signed certificate for $DOOR_SERVER_NAME: browsers will warn"
fi
ln -sf "$own/fullchain.pem" "$DOOR_TLS/fullchain.pem"
ln -sf "$own/privkey.pem" "$DOOR_TLS/privkey.pem"
