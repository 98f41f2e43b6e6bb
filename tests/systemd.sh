#!/bin/bash
# The units as they are installed: their exposure, and what they do in a systemd that is really
# booted (systemd-nspawn with an empty /etc and /var over this machine's /usr): start, classify,
# reload, watchdog, stop, restarts under load. A line for each thing measured; the checks inside are
# tests/systemd_inside.py. Where a container cannot be booted that part is skipped, loudly.
#   tests/systemd.sh BINARY FAIL.SO
# SPDX-License-Identifier: MIT
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
binary=$(realpath "$1")
library=$(realpath "$2")
broken=0

row() { # PROMISE MEASURED KEPT?
    local word=BROKEN
    [[ $3 == yes ]] && word=kept
    [[ $word == kept ]] || broken=$((broken + 1))
    printf 'systemd  %-6s  %-63s  %s\n' "$word" "$1" "$2"
}

command -v systemd-analyze >/dev/null || {
    echo "systemd: SKIPPED, systemd-analyze is not installed"
    exit 0
}

exposed() { # UNIT AT_MOST
    local score
    score=$(systemd-analyze security --no-pager --offline=yes "systemd/$1" |
        sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')
    row "exposure of $1 at most $2" "${score:-?}" \
        "$(awk -v s="${score:-99}" -v most="$2" 'BEGIN { print s + 0 <= most ? "yes" : "no" }')"
}
exposed resnetd.service 1.1
exposed resnetd-activated.service 0.3

if [[ $(id -u) -ne 0 ]] || ! command -v systemd-nspawn >/dev/null; then
    echo "systemd: SKIPPED, booting the units takes root and systemd-nspawn (apt install systemd-container)"
    exit $((broken > 0))
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/out"
env -u MAKEFLAGS make --no-print-directory install DESTDIR="$work/root" B="$(dirname "$1")" >/dev/null || exit 1
cat >"$work/drive.service" <<EOF
[Unit]
Description=resnetd: the checks
After=basic.target

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /drive/systemd_inside.py
StandardOutput=file:/out/rows
StandardError=file:/out/errors
ExecStopPost=/usr/bin/systemctl --force poweroff
EOF

timeout -k 5 180 systemd-nspawn -q -D / --volatile=yes --register=no --keep-unit --private-network \
    -M "resnetd-$$" --bind-ro="$work/root/usr/local:/usr/local" \
    --bind-ro="$work/drive.service:/etc/systemd/system/drive.service" \
    --bind-ro="$PWD/tests:/drive" --bind-ro="$library:/fail.so" --bind="$work/out:/out" \
    -b systemd.firstboot=off systemd.unit=basic.target systemd.wants=drive.service \
    systemd.mask=systemd-networkd-wait-online.service >"$work/boot" 2>&1 </dev/null

if [[ ! -s $work/out/rows ]]; then
    tail -n 5 "$work/boot" | tr -d '\r'
    cat "$work/out/errors" 2>/dev/null
    echo "systemd: SKIPPED, NO CONTAINER COULD BE BOOTED HERE; the units were not run"
    exit $((broken > 0))
fi
cat "$work/out/rows"
cat "$work/out/errors"
if ! grep -q '^systemd  done' "$work/out/rows" || grep -q '^systemd  BROKEN' "$work/out/rows"; then
    broken=$((broken + 1))
    tail -n 40 "$work/out/journal" 2>/dev/null
fi
exit $((broken > 0))
