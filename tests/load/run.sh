#!/bin/bash
# Sixteen clients post images for a while; prints throughput, latency quantiles, what was answered
# and how large the batches became.
#   tests/load/run.sh [URL] [IMAGE|FOLDER...]
# Without URL it starts its own server (BINARY, build/resnetd) on a free port and stops it.
# Images default to the tests' photographs. CLIENTS=16 and SECONDS_LONG=10 may be set.
# SPDX-License-Identifier: MIT
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
binary=${BINARY:-$top/build/resnetd}
server=

fail() {
    echo "load: $*" >&2
    exit 1
}

stop() {
    [[ -n $server ]] || return 0
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
}
trap stop EXIT

command -v wrk >/dev/null || fail "wrk is missing; apt install wrk"
command -v curl >/dev/null || fail "curl is missing; apt install curl"

url=
case "${1:-}" in
http://*)
    url=${1%/}
    shift
    ;;
esac

[[ $# -gt 0 ]] || set -- "$top"/tests/golden/images/baseline-*.jpg
mapfile -t images < <(find "$@" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) |
    sort | head -n 200)
[[ ${#images[@]} -gt 0 ]] || fail "no .jpg or .png among: $*"

if [[ -z $url ]]; then
    [[ -x $binary ]] || fail "$binary is missing; run make"
    exec {output}< <(exec "$binary" serve --listen 127.0.0.1:0 --access-log= 2>&1)
    server=$!
    while [[ -z $url ]] && read -r -u "$output" line; do
        [[ $line =~ http://127\.0\.0\.1:[0-9]+ ]] && url=${BASH_REMATCH[0]}
    done
    [[ -n $url ]] || fail "the server did not start: ${line:-no message}"
    cat <&"$output" >/dev/null & # or its log would fill the pipe
fi
curl -fs --retry 5 --retry-all-errors --retry-delay 1 -o /dev/null "$url/readyz" ||
    fail "$url/readyz is not ready"

# "LE COUNT" a line, cumulative.
batches() {
    curl -fsS "$url/metrics" | sed -n 's/^resnetd_batch_size_bucket{le="\([^"]*\)"} /\1 /p'
}

before=$(batches)
wrk -t1 -c"${CLIENTS:-16}" -d"${SECONDS_LONG:-10}s" --timeout 30s \
    -s "$top/tests/load/post.lua" "$url" -- "${images[@]}" |
    grep -E '^(throughput|latency|answers|errors) '
after=$(batches)

# Buckets are cumulative, in rising order; the difference of neighbours is the bucket alone.
awk 'NR == FNR { old[$1] = $2; next }
     { count = $2 - old[$1]; if (count > last) line = line "  ≤" $1 ": " count - last; last = count }
     END { print "batches    " line }' <(echo "$before") <(echo "$after")
