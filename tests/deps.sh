#!/bin/sh
# Installs the Debian packages that are missing for building (build), for the tests as well (test),
# for lint and load runs as well (ci); or for the tests of the page (web): chromium, and from the npm
# registry what tests/web/package-lock.json names, into build/web.
#   tests/deps.sh build|test|ci|web
#   tests/deps.sh libraries        prints those that are linked, for a build elsewhere
# Says one line; changes nothing when all are there. apt-get runs as root or through sudo.
# SPDX-License-Identifier: MIT
set -eu

build="gcc libc6-dev make pkg-config libmicrohttpd-dev libjansson-dev libuv1-dev libstb-dev
       libjpeg62-turbo-dev nettle-dev libgnutls28-dev libcurl4-openssl-dev ca-certificates"
tests="libcriterion-dev curl"
tools="binutils clang-format python3-jsonschema wrk qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross
       clang libclang-rt-14-dev gcovr python3 systemd-container nginx-light libcap2-bin iproute2 jq haproxy prometheus dnsmasq-base
       slowhttptest faketime libjpeg-turbo-progs netpbm"

# For the manual, for a Debian beside this one, and for an emulated machine with AVX-512.
tests="$tests mandoc"
tools="$tools mmdebstrap"
tools="$tools bochs bochs-term bochsbios busybox-static cpio isolinux syslinux-common xorriso bsdutils"

case "${1:-}" in
build) wanted=$build ;;
test) wanted="$build $tests" ;;
ci) wanted="$build $tests $tools" ;;
web)
    wanted="$build curl chromium fonts-dejavu-core"
    command -v node >/dev/null || wanted="$wanted nodejs"
    command -v npm >/dev/null || wanted="$wanted npm"
    ;;
libraries)
    echo $build $tests | tr ' ' '\n' | grep -e '-dev$'
    exit
    ;;
*)
    echo "usage: $0 build|test|ci|web|libraries" >&2
    exit 2
    ;;
esac

npm_packages() {
    cmp -s tests/web/package-lock.json build/web/package-lock.json && return
    mkdir -p build/web
    cp tests/web/package.json tests/web/package-lock.json build/web/
    npm ci --prefix build/web --ignore-scripts --no-fund --no-audit || {
        rm build/web/package-lock.json
        return 1
    }
}

missing=
for package in $wanted; do
    case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" in
    "install ok installed") ;;
    *) missing="$missing $package" ;;
    esac
done
if [ -z "$missing" ]; then
    echo "packages: all there"
    [ "$1" != web ] || npm_packages
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "missing, and there is no apt-get to install them:$missing" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "missing; as root, run: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "packages: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
if ! { $as_root apt-get update &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
} >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "apt-get failed; install by hand:$missing" >&2
    exit 1
fi
[ "$1" != web ] || npm_packages
