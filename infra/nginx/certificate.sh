#!/bin/sh
# Provides nginx with a certificate: the given one, or a self-signed one, which is kept and renewed. nginx's image runs this
# before it starts. Reads PROXY_CERTIFICATES (folder of fullchain.pem and privkey.pem, or empty), PROXY_TLS (the folder
# that nginx reads), PROXY_SERVER_NAME, PROXY_GATEWAY_URL.
set -eu

log() { echo "certificate.sh: $*" >&2; }

case "$PROXY_GATEWAY_URL" in
  *://*/*) log "PROXY_GATEWAY_URL must end with host and port, without path and slash"; exit 2 ;;
  http://?* | https://?*) ;;
  *) log "PROXY_GATEWAY_URL must look like http://127.0.0.1:8080"; exit 2 ;;
esac

chain="$PROXY_CERTIFICATES/fullchain.pem" key="$PROXY_CERTIFICATES/privkey.pem"
mkdir -p "$PROXY_TLS"
# HSTS makes browsers refuse every later certificate that they can't check: only with a given certificate.
hsts() { echo "map '' \$strict_transport_security { default '$1'; }" > "$PROXY_TLS/hsts.conf"; }
if [ -s "$chain" ] && [ -s "$key" ]; then
  # Links: after a renewal `nginx -s reload` is enough.
  ln -sf "$chain" "$PROXY_TLS/fullchain.pem"
  ln -sf "$key" "$PROXY_TLS/privkey.pem"
  hsts max-age=31536000
  log "using the certificate in $PROXY_CERTIFICATES"
  exit 0
fi
if [ -e "$chain" ] || [ -e "$key" ]; then
  log "fullchain.pem and privkey.pem in $PROXY_CERTIFICATES: both must exist and be non-empty"
  exit 2
fi

own="$PROXY_TLS/self-signed"
mkdir -p "$own"
is_valid_for_30_days() {
  openssl x509 -in "$own/fullchain.pem" -noout -checkend 2592000 > /dev/null 2>&1 \
    && openssl x509 -in "$own/fullchain.pem" -noout -ext subjectAltName | grep -q "DNS:$PROXY_SERVER_NAME\$"
}
if ! is_valid_for_30_days; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 397 \
    -subj "/CN=$PROXY_SERVER_NAME" -addext "subjectAltName=DNS:$PROXY_SERVER_NAME" \
    -keyout "$own/privkey.pem" -out "$own/fullchain.pem" 2> /dev/null
  log "created a self-signed certificate for $PROXY_SERVER_NAME: browsers will warn"
fi
ln -sf "$own/fullchain.pem" "$PROXY_TLS/fullchain.pem"
ln -sf "$own/privkey.pem" "$PROXY_TLS/privkey.pem"
hsts ""
