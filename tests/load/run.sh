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
# shellcheck source=tests/load/server.sh
. "$top/tests/load/server.sh"
need wrk curl

url=
case "${1:-}" in
http://*)
    url=${1%/}
    shift
    ;;
esac

[[ $# -gt 0 ]] || set -- "$top"/tests/golden/images/baseline-*.jpg
find_images "$@"
if [[ -z $url ]]; then
    start_server "$binary"
else
    wait_until_ready "$url/readyz"
fi

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
