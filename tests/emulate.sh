#!/bin/bash
# Machines that are not here, by user-mode emulation: the NEON kernels, and a CPU without AVX, on
# which the program must not meet an instruction that it lacks.
#   tests/emulate.sh BINARY
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

for tool in aarch64-linux-gnu-gcc qemu-aarch64-static qemu-x86_64-static; do
    command -v $tool >/dev/null || {
        echo "emulate: $tool is missing; run tests/deps.sh ci" >&2
        exit 1
    }
done

sources=(engine/kernel/dispatch.c engine/kernel/isa_portable.c engine/kernel/isa_neon.c
    engine/base/cpu.c engine/base/status.c tests/plain/kernels_check.c)
aarch64-linux-gnu-gcc -std=c17 -D_GNU_SOURCE -O3 -ffp-contract=off -I. -static -o "$out/check" \
    "${sources[@]}" -lm
qemu-aarch64-static "$out/check" neon

if [[ $(uname -m) == x86_64 ]]; then
    photo=tests/golden/images/baseline-420.jpg
    RESNETD_CPU=portable "$binary" classify --json "$photo" >"$out/here"
    qemu-x86_64-static -cpu Nehalem "$binary" classify --json "$photo" >"$out/nehalem"
    cmp "$out/here" "$out/nehalem"
    echo "Nehalem: the portable kernels' answer, bit for bit"
fi
