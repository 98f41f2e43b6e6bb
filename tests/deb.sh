#!/bin/bash
# The Debian package in a Debian that has never heard of it: booted with systemd in a container,
# installed with dpkg, which starts the service; it classifies, reloads, is upgraded under its
# feet, stops; purged, it leaves nothing behind.
#   tests/deb.sh PACKAGE.deb
# Needs root, mmdebstrap, systemd-nspawn and a Debian mirror.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
deb=$(realpath "$1")

fail() {
    echo "deb: $*" >&2
    exit 1
}
for tool in mmdebstrap systemd-nspawn; do
    command -v $tool >/dev/null ||
        fail "$tool is missing; as root, run: apt-get install mmdebstrap systemd-container"
done
work=$(mktemp -d /var/tmp/resnetd-deb.XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/root

version=$(sed -n 's/^VERSION := //p' Makefile)
[[ $(dpkg-deb -f "$deb" Version) == "$version-1" ]] || fail "its version is not the Makefile's"
if command -v lintian >/dev/null; then
    # It is not for Debian's archive: no address, no bug that asks for it.
    lintian --fail-on error,warning --allow-root --suppress-tags \
        bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs \
        --profile debian "$deb" || fail "lintian complains"
    echo "deb: lintian has nothing to say"
else
    echo "deb: lintian NOT RUN, it is not installed"
fi

needs=$(dpkg-deb -f "$deb" Depends Pre-Depends | sed 's/^[A-Za-z-]*: //; s/([^)]*)//g' |
    tr ',\n' '  ' | tr -s ' ' ' ' | sed 's/^ //; s/ $//; s/ /,/g')
mmdebstrap --quiet --variant=apt --dpkgopt=force-unsafe-io --include="systemd-sysv,curl,$needs" \
    bookworm "$root"
cp "$deb" "$root/root/resnetd.deb"
cp tests/golden/images/baseline-420.jpg "$root/root/photo.jpg"

cat >"$root/root/drive" <<'INSIDE'
#!/bin/bash
set -euo pipefail
cd /root
say() { echo "deb: $*"; }
trap '[[ $? -eq 0 ]] || { echo "deb: failed"; journalctl -u resnetd -n 20 --no-pager; }
    systemctl poweroff --no-block 2>/dev/null' EXIT
files() {
    find / -xdev \( -path /root -o -path /var/lib/dpkg -o -path /var/log -o -path /var/tmp \
        -o -path /tmp -o -path /run -o -path /proc -o -path /sys -o -path /dev \) -prune -o -print | sort
}
classify() { curl -sS --fail --retry 20 --retry-connrefused --retry-delay 1 -T photo.jpg localhost:8080/classify; }

files >before
dpkg -i resnetd.deb >dpkg.log 2>&1 || { cat dpkg.log; exit 1; }
[[ $(systemctl is-enabled resnetd) == enabled ]]
classify | grep -q '"label":"airplane"'
[[ $(systemctl is-active resnetd) == active ]]
user=$(stat -c %u "/proc/$(systemctl show -P MainPID resnetd)")
[[ $user -ge 61184 ]] # a dynamic one
resnetd --version | grep -E "^resnetd [0-9.]+ \\([0-9a-f]{12}\\)$"
resnetd health
ls /usr/share/man/man1/resnetd.1.gz /usr/share/doc/resnetd/README.md* >/dev/null
say "installed: enabled, active as user $user, classifies"

echo RESNETD_TOP_K=2 >>/etc/default/resnetd
systemctl restart resnetd
[[ $(classify | grep -o '"label"' | wc -l) == 2 ]]
systemctl reload resnetd
classify >answer
dpkg -i resnetd.deb >dpkg.log 2>&1 || { cat dpkg.log; exit 1; }
[[ $(classify | grep -o '"label"' | wc -l) == 2 ]]
say "/etc/default/resnetd counts, and outlives an upgrade"

dpkg --remove resnetd >dpkg.log 2>&1 || { cat dpkg.log; exit 1; }
! curl -sS --max-time 2 localhost:8080/livez 2>/dev/null
[[ -e /etc/default/resnetd ]]
dpkg --purge resnetd >dpkg.log 2>&1 || { cat dpkg.log; exit 1; }
files >after
diff before after
! ls -d /var/log/resnetd /var/log/private/resnetd 2>/dev/null
[[ $(systemctl show -P LoadState resnetd) == not-found ]]
[[ -z $(systemctl --failed --quiet --plain) ]]
say "purged: nothing is left"
touch passed
INSIDE
chmod +x "$root/root/drive"
cat >"$root/etc/systemd/system/drive.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/root/drive
StandardOutput=append:/root/log
StandardError=inherit
UNIT
timeout 120 systemd-nspawn -q -D "$root" --register=no --keep-unit --private-network -M resnetd-deb \
    -b systemd.firstboot=off systemd.wants=drive.service >"$work/boot" 2>&1 || true
cat "$root/root/log" 2>/dev/null || tail -n 20 "$work/boot" >&2
[[ -e $root/root/passed ]] || fail "it has failed in the container"
