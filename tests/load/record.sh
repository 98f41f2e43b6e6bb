#!/bin/bash
# Records what a real server sees, for the simulation to replay: starts one, offers it more and less
# than it can serve, in turn and without deadlines, a few uploads a second being slow ones, and
# prints a line for each request from the server's access log: when it came, how long its upload and
# its decode took, the size of its batch and how long that ran.
#   MODEL=PATH tests/load/record.sh BINARY OPEN_LOOP IMAGE|FOLDER... >TRACE
# MODEL is the embedded one where it is not set. SECONDS_EACH=3 for each of the rates.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$1 open_loop=$2
shift 2
. tests/load/server.sh
need wrk curl jq
find_images "$@"
folder=$(mktemp -d)
trap 'stop; rm -rf "$folder"' EXIT
log=$folder/access.log

start_server "$binary" --access-log "$log" --access-log-format json ${MODEL:+--model "$MODEL"}
capacity=$(wrk -t1 -c16 -d5s --timeout 30s -s tests/load/post.lua "$url" -- "${images[@]}" |
    awk '$1 == "throughput" { print $2 }')
: >"$log"

# Four a second, at speeds at which a photograph takes some tenths of a second.
upload_slowly() {
    local n=0
    while sleep 0.25; do
        n=$((n + 1))
        { cat "${images[n % ${#images[@]}]}"; echo "$n"; } >"$folder/$n"
        curl -s -o /dev/null --limit-rate "$((150 + 50 * (n % 10)))k" -T "$folder/$n" "$url/classify" &
    done
}
upload_slowly &
slow=$!
for factor in 0.4 0.9 1.3 0.6 1.1 0.3 1.5 0.5; do
    "$open_loop" --url "$url/classify" --rate "$(awk "BEGIN { print $factor * $capacity }")" \
        --seconds "${SECONDS_EACH:-3}" --seed "${factor/./}" "${images[@]}" >/dev/null
done
kill "$slow"
sleep 1
stop

printf '# arrival, upload, decode in ms; images in the batch; its run in ms. By tests/load/record.sh, %s:\n' \
    "$(date -u +%F)"
printf '# %s on %s, %d cores, %d photographs, capacity %s/s with 16 waiting clients\n' \
    "$(basename "${MODEL:-the embedded model}" .safetensors)" \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "${#images[@]}" "$capacity"
jq -s -r '
    map(select(.path == "/classify" and .status == 200 and .stages_ms.inference > 0) |
        [(.time[:19] + "Z" | fromdate) * 1000 + (.time[20:23] | tonumber) - .ms,
         .stages_ms.receive, .stages_ms.decode + .stages_ms.preprocess, .batch, .stages_ms.inference]) |
    sort | .[0][0] as $start | .[] | .[0] -= $start | (.[:3] + .[4:] | map(. * 1000 | round / 1000)) as $ms |
    [$ms[0], $ms[1], $ms[2], .[3], $ms[3]] | @tsv' "$log"
