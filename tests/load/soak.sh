#!/bin/bash
# Does memory stay flat? Sends good, bad, late, malformed and broken-off requests for a while and
# follows the resident memory. Prints some thirty readings, the slope over the last two thirds and a
# verdict: 0 ± LIMIT_MIB (1) for the whole run. Exit 1 when it grew.
#   tests/load/soak.sh BINARY [IMAGE...]
# REQUESTS=200000 and MODEL=[NAME=]PATH (the embedded one) may be set, too.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$1
shift
[[ $# -gt 0 ]] || set -- tests/golden/images/baseline-*.jpg
requests=${REQUESTS:-200000}
READINGS=30
out=build/load
mkdir -p "$out"

. tests/load/server.sh
need wrk curl
start_server "$binary" --cache-bytes 1M ${MODEL:+--model "$MODEL"}
trap 'kill $server $(jobs -p) 2>/dev/null || true' EXIT

answered() {
    curl -fsS "$url/metrics" | awk '/^resnetd_http_requests_total/ { n += $NF } END { print n + 0 }'
}
resident_kib() {
    awk '/^VmRSS/ { print $2 }' "/proc/$server/status"
}

# Uploads that break off: some bytes of a declared many, then gone.
port=${url##*:}
break_off() {
    while kill -0 $server 2>/dev/null; do
        exec 9<>"/dev/tcp/127.0.0.1/$port" || return 0
        printf 'POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n%9999s' x >&9
        exec 9>&-
        sleep 0.02
    done
}
break_off 2>/dev/null &
wrk -t1 -c16 -d100000s --timeout 30s -s tests/load/mixed.lua "$url" -- "$@" >/dev/null &
: >"$out/soak.tsv"
count=0 next=0
while [[ $count -lt $requests ]]; do
    sleep 0.05
    kill -0 $server 2>/dev/null || fail "the server is gone"
    count=$(answered)
    [[ $count -ge $next ]] || continue
    printf '%d\t%d\n' "$count" "$(resident_kib)" | tee -a "$out/soak.tsv"
    next=$((count + requests / READINGS))
done
awk -F'\t' -v limit="${LIMIT_MIB:-1}" '
    { n[NR] = $1; kib[NR] = $2 }
    END {
        for (i = 1; i <= NR; i++) if (n[i] > n[NR] / 3) {
            c++; sx += n[i]; sy += kib[i]; sxx += n[i] * n[i]; sxy += n[i] * kib[i] }
        if (c < 3) {
            print "too few readings for a slope: raise REQUESTS"
            exit 1
        }
        slope = (c * sxy - sx * sy) / (c * sxx - sx * sx)
        grown = slope * n[NR] / 1024
        kept = grown < limit && grown > -limit
        printf "%d requests, %.1f MiB at the end, slope over the last two thirds %+.2f MiB for the whole run (0 ± %g): %s\n",
            n[NR], kib[NR] / 1024, grown, limit, kept ? "kept" : "MISSED"
        exit !kept
    }' "$out/soak.tsv"
