#!/bin/bash
# What the fuzzers have grown, without what adds no coverage, into tests/fuzz/grown.tar.gz, from
# which they go on elsewhere: tests/fuzz/grow.sh BUILD, with fuzzers, corpora and seeds in BUILD.
# SPDX-License-Identifier: MIT
set -euo pipefail
build=$1
here=$(dirname "$0")
grown=$(mktemp -d)
trap 'rm -rf "$grown"' EXIT

for source in "$here"/fuzz_*.c; do
    fuzzer=$build/$(basename "$source" .c) name=${source##*/fuzz_}
    name=${name%.c}
    inputs=()
    for folder in "$fuzzer.corpus" "$build/seeds/$name"; do
        [[ ! -d $folder ]] || inputs+=("$folder")
    done
    [[ -x $fuzzer && ${#inputs[@]} -gt 0 ]] || {
        echo "grow: there is no $fuzzer with inputs: make fuzz first" >&2
        exit 1
    }
    mkdir "$grown/$name"
    "$fuzzer" -merge=1 -rss_limit_mb=1024 "$grown/$name" "${inputs[@]}" >"$fuzzer.log" 2>&1 || {
        tail -n 40 "$fuzzer.log"
        exit 1
    }
    find "$grown/$name" -type f -size +8k -delete # mutations of files that lie here
    echo "$name: $(find "$grown/$name" -type f | wc -l) inputs"
done
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$grown" -cf - . |
    gzip -9n >"$here/grown.tar.gz"
