#!/bin/bash
# The whole program for arm64: compiled here against Debian's arm64 libraries in a folder of their
# own, its tests run by user-mode emulation in namespaces of their own, so that this machine stays
# as it is. Without SUITES those that do not take minutes there: NEON against PyTorch's logits, the
# unit tests but for confinement (qemu has neither seccomp nor limits of memory), and the server as
# its clients see it. All other e2e suites pass, too, but e2e_batching, whose 64 images take longer
# than the ten seconds a request has. Where many others want the cores, the first image, which is
# translated while it runs, can take more than stuck_after_ms and looks like a stuck worker.
#
# qemu 7.2 lets a load pass an earlier store where Arm does not (STLR, then LDAR), so that a thread may
# sleep through what it is told: on two cores up to every sixth time in a test of nothing else. And
# Criterion 2.4.1 never ends if a test with a limit has not begun within it. A run that hangs is
# therefore tried once more, on one core, where no order is lost. A test that fails is not.
#   tests/arm64.sh [SUITES]        a pattern for Criterion's --filter, e.g. 'e2e_classify/*'
# Needs root, mmdebstrap, the cross compiler, qemu-user-static and Linux 6.7.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/arm64
root=$PWD/$out/root
limit=600 # seconds for one run of the tests; CI's take 20 to 180
left_out='!(confinement|pipeline|simulation|golden|e2e_*)/*'

for tool in mmdebstrap aarch64-linux-gnu-gcc qemu-aarch64-static; do
    command -v $tool >/dev/null || {
        echo "arm64: $tool is missing; run tests/deps.sh ci" >&2
        exit 1
    }
done

if [[ ! -e $root/complete ]]; then
    rm -rf "$root"
    mkdir -p "$out"
    mmdebstrap --quiet --variant=extract --architectures=arm64 --include=libc6-dev \
        --include="$(tests/deps.sh libraries | xargs | tr ' ' ,)" bookworm "$root" 2>/dev/null
    touch "$root/complete"
fi

export PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_LIBDIR=$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig
make --no-print-directory CC="aarch64-linux-gnu-gcc --sysroot=$root" CFLAGS=-O2 B=$out \
    $out/resnetd $out/resnetd-pull $out/run_tests
unset PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_LIBDIR

cat >$out/enter <<'INSIDE'
set -eu
root=$1
shift
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
# ELF, 64 bits, little-endian, aarch64; opened now (F), credentials and the descriptor passed (OC).
printf '%s%s%s' ':aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:' \
    '\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:' \
    '/usr/bin/qemu-aarch64-static:OCF' >/proc/sys/fs/binfmt_misc/register
mount -t overlay -o "lowerdir=/usr/lib:$root/lib:$root/usr/lib" overlay /usr/lib
exec "$@"
INSIDE
inside=(unshare --user --map-root-user --mount sh $out/enter "$root")
if ! "${inside[@]}" true 2>/dev/null; then
    echo "arm64: compiled, NOT RUN: this machine does not let a namespace have binfmt_misc"
    exit 0
fi
run() { # COMMAND..., which the tests follow
    RESNETD_BINARY=$out/resnetd tests/limit.sh $limit "$@" "${inside[@]}" $out/run_tests --filter "$suites"
}
try() {
    local suites=$1 status=0
    run env || status=$?
    [[ $status -eq 124 ]] || return $status
    echo "arm64: hung under emulation; once more, on one core: $suites"
    run taskset -c "$(taskset -cp $$ | grep -oE '[0-9]+' | tail -n 1)"
}

if [[ $# -gt 0 ]]; then
    try "$1"
    exit
fi
try "$left_out"
try 'golden/every_*'
try 'e2e_classify/*'
