#!/bin/bash
# Lets some per cent of a kind of calls fail by chance while clients ask for everything:
#   tests/faults/chance.sh BINARY FAIL.SO KIND PER_CENT SECONDS
# Meanwhile every answer is one that the API knows or a connection that broke, none takes 10 s;
# afterwards 100 of 100 requests are answered with 200, and the daemon ends with status 0.
# SPDX-License-Identifier: MIT
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
binary=$1 library=$(realpath "$2") kind=$3 per_cent=$4 seconds=$5
dir=$(mktemp -d)
trap 'kill -9 $server 2>/dev/null; rm -rf "$dir"' EXIT
images=tests/golden/images
model=config/models/cifar10-resnet20.safetensors

ask() { # prints the status and curl's own, which is 28 for one who waited in vain
    curl -s -o /dev/null -m 10 -w '%{http_code} %{exitcode}\n' --unix-socket "$dir/socket" "$@"
}
marked() { # an upload that no cache has seen
    cat "$images/coarse.jpg" - <<<"$1" | ask -T - "http://x/classify"
}

env FAIL="$kind:$per_cent%" FAIL_WHILE="$dir/failing" FAIL_COUNT="$dir/count" LD_PRELOAD="$library" \
    "$binary" serve --model $model --listen "unix:$dir/socket" --decode-isolation thread \
    --cache-bytes 1M --access-log "$dir/access" 2>"$dir/log" &
server=$!
for _ in $(seq 500); do
    [[ $(ask http://x/readyz) == "200 0" ]] && break
    sleep 0.02
done

load() {
    local end=$((SECONDS + seconds)) n=0
    while ((SECONDS < end)); do
        marked "$1 $((n += 1))"
        ask -T $images/palette4.png http://x/classify
        ask -F a=@$images/grey.jpg -F b=@$images/grey8.png http://x/classify
        ask -T README.md http://x/classify
        ask -T $images/grey.jpg "http://x/classify?explain=cam&explain_format=png"
        ask -T $images/grey.jpg "http://x/features?layer=conv1&top=2"
        ask http://x/metrics
        ask -X PUT -d "{\"path\":\"$model\"}" "http://x/models/put$1"
    done >"$dir/codes.$1"
}
touch "$dir/failing"
clients=()
for i in 1 2 3 4; do
    load "$i" &
    clients+=($!)
done
wait "${clients[@]}"
rm "$dir/failing"

good=$(for n in $(seq 100); do marked "after $n"; done | grep -c '^200 0$')
kill -TERM $server
wait $server
status=$?
read -r calls failed <"$dir/count" || calls=0 failed=0
hung=$(cat "$dir"/codes.* | grep -c ' 28$')
unknown=$(cat "$dir"/codes.* | grep -cvE '^(200|409|415|422|500|503|504|000|100) ')
echo "$kind: $failed of $calls calls failed, $(cat "$dir"/codes.* | wc -l) requests, $hung hung, $unknown unknown answers; afterwards $good of 100, status $status"
if [[ $good -ne 100 || $status -ne 0 || $hung -ne 0 || $unknown -ne 0 || $failed -eq 0 ]]; then
    sort "$dir"/codes.* | uniq -c >&2
    tail -n 20 "$dir/log" >&2
    exit 1
fi
