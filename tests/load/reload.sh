#!/bin/bash
# Do clients notice that models are loaded? Offers requests at a steady rate, open loop, without and
# with reloads (PUT /models/NAME) back to back, in turn, and prints latencies, reloads and a verdict:
# no request fails and the median of the pairs' p99 rises by at most 10 %.
#   tests/load/reload.sh BINARY OPEN_LOOP MODEL [IMAGE|FOLDER...]
# RATE=40 a second, SECONDS_EACH=10 and ROUNDS=3 may be set; FAIL_LIBRARY=build/fail.so forbids the
# daemon to change priorities, as our stand-alone systemd unit does.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$1 open_loop=$2 model=$3
shift 3
. tests/load/server.sh
need curl jq
[[ $# -gt 0 ]] || set -- tests/golden/images/baseline-*.jpg
find_images "$@"
seconds=${SECONDS_EACH:-10}
log=$(mktemp)
trap 'stop; rm -f "$log"' EXIT

if [[ -n ${FAIL_LIBRARY:-} ]]; then
    FAIL=priority:1+ LD_PRELOAD=$FAIL_LIBRARY start_server "$binary" --model "served=$model"
else
    start_server "$binary" --model "served=$model"
fi
offer() {
    "$open_loop" --url "$url/classify" --rate "${RATE:-40}" --seconds "$seconds" "${images[@]}" |
        jq -r '[.sent, .statuses["200"] // 0, .ok_ms.p50, .ok_ms.p99] | @tsv'
}
body=$(jq -n --arg path "$(realpath "$model")" '{path: $path}')
# Until the time is up; a line for each. What the client itself takes of the cores counts, too: little.
reload() {
    local end=$((SECONDS + seconds))
    while [[ $SECONDS -lt $end ]]; do
        nice -n 19 curl -s -o /dev/null -w '%{http_code} %{time_total}\n' -X PUT \
            -H 'Content-Type: application/json' -d "$body" "$url/models/served" >>"$log"
    done
}

offer >/dev/null # once to learn
failed=0 rises=()
for _ in $(seq "${ROUNDS:-3}"); do
    read -r sent ok p50 p99 < <(offer)
    : >"$log"
    reload &
    reloads=$!
    read -r sent2 ok2 p50_2 p99_2 < <(offer)
    wait "$reloads"
    n=$(grep -c '^200 ' "$log" || true)
    failed=$((failed + sent - ok + sent2 - ok2 + $(wc -l <"$log") - n))
    rises+=("$(awk "BEGIN { print 100 * ($p99_2 / $p99 - 1) }")")
    printf '  p50 %6.1f -> %6.1f ms, p99 %6.1f -> %6.1f ms, %d reloads of %.1f s\n' "$p50" "$p50_2" "$p99" "$p99_2" \
        "$n" "$(awk '{ sum += $2 } END { print sum / NR }' "$log")"
done
printf '%s\n' "${rises[@]}" | sort -n | awk -v failed="$failed" '
    { rise[NR] = $1 }
    END {
        median = rise[int((NR + 1) / 2)]
        kept = failed == 0 && median <= 10
        printf "reloads back to back: %d failed (0), p99 %+.0f %% (<= 10): %s\n", failed, median, kept ? "kept" : "MISSED"
        exit !kept
    }'
