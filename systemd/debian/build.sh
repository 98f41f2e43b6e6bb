#!/bin/bash
# A Debian package from an archive of make dist, by debhelper: this folder becomes its debian/, the
# version is the archive's.
#   systemd/debian/build.sh ARCHIVE FOLDER
# SPDX-License-Identifier: MIT
set -euo pipefail
archive=$(realpath "$1")
folder=$(realpath "$2")
name=$(basename "$archive" .tar.gz)
version=${name#resnetd-}

command -v dh >/dev/null || {
    echo "debhelper is missing; as root, run: apt-get install debhelper" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xf "$archive" -C "$work"
cd "$work/$name"
cp -r systemd/debian debian
rm debian/build.sh
cat >debian/changelog <<END
resnetd ($version-1) bookworm; urgency=medium

  * See /usr/share/doc/resnetd/NEWS.md.

 -- resnetd authors <resnetd@localhost>  $(date -R -d "@${SOURCE_DATE_EPOCH:-$(stat -c %Y Makefile)}")
END
dpkg-buildpackage --build=binary --unsigned-changes --no-sign >"$work/log" 2>&1 || {
    tail -n 30 "$work/log" >&2
    exit 1
}
cp "$work"/resnetd_*.deb "$folder"
echo "made $(basename -a "$work"/resnetd_*.deb) in $folder"
