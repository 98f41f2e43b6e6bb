#!/bin/sh
# Lays out the root of an image that holds a program and what it needs to run, nothing else: its
# libraries (the closure that ldd sees), an account without a password, roots of trust if this
# machine has some, which packages the files come from and under which licences.
#   docker/rootfs.sh BINARY FOLDER
# Runs on the Debian that the binary was built on. The package records are where scanners of images
# without a package manager look for them.
# SPDX-License-Identifier: MIT
set -eu
binary=$1
root=$2

install -d "$root/usr/bin" "$root/usr/lib64" "$root/etc" "$root/models" "$root/var/lib/dpkg/status.d"
ln -s usr/bin "$root/bin"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
install -m 755 "$binary" "$root/usr/bin/${binary##*/}"
strip "$root/usr/bin/${binary##*/}"

# The library's file under the name that the loader asks for, and its package's records.
packages=
for library in $(ldd "$binary" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }'); do
    file=$(readlink -f "$library")
    case $library in
    /lib64/*) to=/usr$library ;;
    *) to=$(dirname "$file")/$(basename "$library") ;;
    esac
    install -D -m 755 "$file" "$root$to"
    package=$(dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "${file#/usr}" 2>/dev/null ||
        dpkg-query -S "$library")
    packages="$packages ${package%%:*}"
done

printf 'root:x:0:0:root:/:/usr/sbin/nologin\nresnetd:x:65532:65532::/:/usr/sbin/nologin\n' \
    >"$root/etc/passwd"
printf 'root:x:0:\nresnetd:x:65532:\n' >"$root/etc/group"
install -m 644 /etc/os-release "$root/usr/lib/os-release"
ln -s ../usr/lib/os-release "$root/etc/os-release"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    packages="$packages ca-certificates"
fi

for package in $(printf '%s\n' $packages | sort -u); do
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
    install -D -m 644 "/usr/share/doc/$package/copyright" \
        "$root/usr/share/doc/$package/copyright"
done
install -D -m 644 LICENSE "$root/usr/share/doc/resnetd/LICENSE"
