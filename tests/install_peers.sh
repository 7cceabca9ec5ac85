#!/usr/bin/env bash
# Installs the Debian and npm packages that only tests need, when root or sudo allows. Says what it cannot do; never fails a run:
# the tests that need an absent part skip and name it.
set -u
packages=(mosquitto mosquitto-clients influxdb victoria-metrics mbpoll socat tshark chromium strace openssl nodejs npm)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
    echo "installing for the tests: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq >/dev/null 2>&1
    for package in "${missing[@]}"; do
      # A package may come by another name or another hand (node from a vendor's archive), so each is tried by itself.
      case $package in nodejs) command -v node >/dev/null && continue ;; npm) command -v npm >/dev/null && continue ;; esac
      # policy-rc.d: the tests start their own servers on free ports; no service of the machine is to be started.
      "${as_root[@]}" env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 \
        || echo "not installed: $package (its tests will skip)"
    done
  else
    echo "not installed, because neither root nor sudo is to be had: ${missing[*]} (their tests will skip)"
  fi
fi
peers="$(dirname "$0")/peers/node"
if command -v npm >/dev/null && [ "$peers/package-lock.json" -nt "$peers/node_modules/.package-lock.json" ]; then
  (cd "$peers" && npm ci --silent --no-audit --no-fund >/dev/null 2>&1) || echo "not installed: npm test peers (their tests will skip)"
fi
# libosdp shares its import name with other packages of OSDP: a virtual environment of its own.
osdp="$(dirname "$0")/peers/osdp"
if [ "$osdp/requirements.txt" -nt "$osdp/.venv/.ready" ]; then
  (python3 -m venv "$osdp/.venv" && "$osdp/.venv/bin/pip" install --quiet --disable-pip-version-check -r "$osdp/requirements.txt" \
    && touch "$osdp/.venv/.ready") >/dev/null 2>&1 || echo "not installed: libosdp (its tests will skip)"
fi
uhppoted="$(dirname "$0")/peers/uhppoted"
if [ "$uhppoted/requirements.txt" -nt "$uhppoted/.venv/.ready" ]; then
  (python3 -m venv "$uhppoted/.venv" && "$uhppoted/.venv/bin/pip" install --quiet --disable-pip-version-check \
    -r "$uhppoted/requirements.txt" && touch "$uhppoted/.venv/.ready") >/dev/null 2>&1 || echo "not installed: uhppoted (its test will skip)"
fi
pjlink="$(dirname "$0")/peers/pjlink"
if [ "$pjlink/requirements.txt" -nt "$pjlink/.venv/.ready" ]; then
  (python3 -m venv "$pjlink/.venv" && "$pjlink/.venv/bin/pip" install --quiet --disable-pip-version-check \
    -r "$pjlink/requirements.txt" && touch "$pjlink/.venv/.ready") >/dev/null 2>&1 || echo "not installed: aiopjlink (its test will skip)"
fi
# node-mbus is compiled when it is installed, and needs a compiler: in a folder of its own, so that its failure spoils no other.
mbus="$(dirname "$0")/peers/mbus"
if command -v npm >/dev/null && [ ! -f "$mbus/node_modules/node-mbus/build/Release/mbus.node" ]; then
  (cd "$mbus" && npm ci --silent --no-audit --no-fund && npm rebuild --ignore-scripts=false) >/dev/null 2>&1 \
    || echo "not built: node-mbus (its test will skip)"
fi
exit 0
