#!/bin/bash
# Does the server keep its word when it is full? Measures its capacity with 16 waiting clients, then
# offers a half to three times as much, open loop, every request with a deadline, and counts what
# came in time by the client's clock. Prints a table and a verdict on each promise of docs/api.md,
# and draws build/load/goodput.svg.
#   tests/load/goodput.sh BINARY OPEN_LOOP [IMAGE|FOLDER...]
# MODEL=[NAME=]PATH (the embedded one), DEADLINE_MS=200, SECONDS_EACH=10 may be set. PEER=DIR is a
# folder with another server, `node server.mjs MODEL.onnx PORT THREADS`, which is offered the same;
# both then serve the ResNet-18 that tests/bench/make_models.py makes.
# The client shares the cores with the server; where it may, it takes one as soon as it needs it, as
# on a machine of its own. What it uses is missing to the server all the same.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=$1
open_loop=$2
shift 2
deadline=${DEADLINE_MS:-200}
seconds=${SECONDS_EACH:-10}
out=build/load
mkdir -p "$out"
. tests/load/server.sh
need wrk curl jq
[[ $# -gt 0 ]] || set -- tests/golden/images/baseline-*.jpg
find_images "$@"

client=("$open_loop")
if chrt -r 1 true 2>/dev/null; then client=(chrt -r 1 "$open_loop"); fi

# NAME URL CAPACITY: a row per offered load in NAME.tsv: factor offered good late 200 503 504 other
# p50 p99 refused_p99
offer() {
    local name=$1 url=$2 capacity=$3 factor rate
    : >"$out/$name.tsv"
    for factor in 0.5 0.8 1 1.5 2 3; do
        rate=$(awk "BEGIN { print $factor * $capacity }")
        "${client[@]}" --url "$url" --rate "$rate" --seconds "$seconds" --deadline-ms "$deadline" \
            "${images[@]}" | jq -r --arg factor "$factor" '[$factor, .sent / .seconds,
            .good_per_second, .late, (.statuses["200"] // 0), (.statuses["503"] // 0),
            (.statuses["504"] // 0),
            (.errors + ([.statuses | to_entries[] | select(.key | IN("200", "503", "504") | not) |
             .value] | add // 0)), .ok_ms.p50, .ok_ms.p99, .refused_ms.p99] | @tsv' \
            >>"$out/$name.tsv"
    done
    echo "$name, capacity $capacity images/s with 16 waiting clients:"
    awk -F'\t' 'BEGIN { print "  offered/s  in time/s  late   200   503  504 other  p50 ms  p99 ms  refused p99 ms" }
        { printf "  %9.1f %10.1f %5d %5d %5d %4d %5d %7.0f %7.0f %15.1f\n",
          $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 }' "$out/$name.tsv"
}

capacity() { # URL without a path
    wrk -t1 -c16 -d"${seconds}s" --timeout 30s -s tests/load/post.lua "$1" -- "${images[@]}" |
        awk '$1 == "throughput" { print $2 }'
}

model=${MODEL:-}
peer=build/peer
if [[ -n ${PEER:-} ]]; then
    [[ -f $PEER/server.mjs ]] || fail "PEER=$PEER has no server.mjs"
    mkdir -p "$peer"
    [[ -s $peer/resnet18.onnx ]] || /usr/bin/python3 tests/bench/make_models.py resnet18 "$peer"
    [[ -d $out/peer/node_modules ]] || {
        mkdir -p "$out/peer"
        cp "$PEER"/* "$out/peer/"
        npm install --prefix "$out/peer" --ignore-scripts --no-fund --no-audit >/dev/null
    }
    model=$peer/resnet18.safetensors
fi

start_server "$binary" ${model:+--model "$model"}
ours=$(capacity "$url")
offer resnetd "$url/classify" "$ours"
stop

if [[ -n ${PEER:-} ]]; then
    port=9321
    node "$out/peer/server.mjs" "$peer/resnet18.onnx" $port "$(nproc)" &
    server=$!
    wait_until_ready "http://127.0.0.1:$port/healthz"
    offer peer "http://127.0.0.1:$port/classify" "$(capacity "http://127.0.0.1:$port")"
    stop
else
    echo "peer: SKIPPED, PEER=DIR names no server to offer the same to"
fi

verdict() { # PROMISE VALUE CONDITION
    local word=MISSED
    awk "BEGIN { exit !($3) }" && word=kept
    printf '  %-58s %8.2f  %s\n' "$1" "$2" "$word"
}
IFS=$'\t' read -r _ _ good late ok _ expired other _ _ refused < <(tail -n 1 "$out/resnetd.tsv")
echo "at three times the capacity, deadline $deadline ms:"
in_time=$(awk "BEGIN { print $ok ? 100 * (1 - $late / $ok) : 0 }")
share=$(awk "BEGIN { print 100 * $good / $ours }")
verdict "answers 200 inside their deadline, % (>= 99)" "$in_time" "$in_time >= 99"
verdict "goodput, % of the capacity (>= 90)" "$share" "$share >= 90"
verdict "p99 of refusals, ms (<= 50)" "$refused" "$refused <= 50"
verdict "answers other than 200 and 503 (0)" "$((expired + other))" "$expired + $other == 0"

cpu=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)
awk -F'\t' -v title="Answers within $deadline ms a second, by offered load ($cpu, $(nproc) cores)" \
    -f tests/load/plot.awk "$out"/resnetd.tsv ${PEER:+"$out"/peer.tsv} >"$out/goodput.svg"
echo "drawn: $out/goodput.svg"
