#!/bin/bash
# The real server, built with ThreadSanitizer, under parallel uploads of every kind while its model
# is loaded again and again, then under more than it can do, ended by SIGTERM in the middle:
#   tests/race.sh BINARY
# Fails on any report and on any answer that is lost.
# SPDX-License-Identifier: MIT
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
binary=$1
dir=$(mktemp -d)
trap 'kill -9 $server $reloads 2>/dev/null; rm -rf "$dir"' EXIT

TSAN_OPTIONS="halt_on_error=0 exitcode=66" "$binary" serve --listen "unix:$dir/socket" \
    --access-log "$dir/access" --decode-workers 3 --threads 2 2>"$dir/log" &
server=$!
for _ in $(seq 300); do
    curl -s --unix-socket "$dir/socket" http://x/readyz | grep -q '"ready":true' && break
    sleep 0.1
done

# Pictures are made a few at a time, feature maps one at a time and when no batch wants the engine:
# 503 for those who come too early, 504 for those who waited for their turn to the end.
see() {
    curl -s -o /dev/null -w '%{http_code}\n' --unix-socket "$dir/socket" -T "$1" "http://x$2"
}
post() {
    for image in tests/golden/images/*.jpg tests/golden/images/*.png README.md; do
        curl -s -o /dev/null -w '%{http_code}\n' --unix-socket "$dir/socket" \
            -T "$image" "http://x/classify?top_k=1&explain=cam"
        curl -s -o /dev/null -w '%{http_code}\n' --unix-socket "$dir/socket" \
            -F "a=@$image" -F "b=@$image" http://x/classify
        see "$image" "/classify?explain=cam&explain_format=png" >>"$dir/seen.$1"
        see "$image" "/features?layer=layer2.0.conv1&top=4" >>"$dir/seen.$1"
        curl -s -o /dev/null -m 0.01 --unix-socket "$dir/socket" -T "$image" http://x/classify
        curl -s -o /dev/null -w '%{http_code}\n' --unix-socket "$dir/socket" http://x/metrics
    done >>"$dir/codes.$1"
}
clients=()
for i in 1 2 3 4 5 6; do
    post "$i" &
    clients+=($!)
done
while sleep 1; do kill -HUP $server; done &
reloads=$!
wait "${clients[@]}"
kill $reloads

# 64 at a time, no two alike, each with a deadline: some are refused.
seq 320 | xargs -P 64 -I{} sh -c "{ cat tests/golden/images/grey.jpg; echo {}; } |
    curl -s -o /dev/null -w '%{http_code}\\n' --unix-socket '$dir/socket' -T - \
    'http://x/classify?timeout_ms=5000'" >"$dir/flood"

curl -s -o /dev/null -w '%{http_code}\n' --unix-socket "$dir/socket" \
    -T tests/golden/images/baseline-420.jpg http://x/classify >"$dir/last" &
last=$!
sleep 0.05
kill -TERM $server
wait $last
wait $server
status=$?

sort "$dir"/codes.* | uniq -c
sort "$dir"/seen.* | uniq -c
sort "$dir/flood" | uniq -c
unexpected=$(cat "$dir"/codes.* | grep -cvE '^(200|415|422)$')
unexpected=$((unexpected + $(cat "$dir"/seen.* | grep -cvE '^(200|415|422|503|504)$')))
unexpected=$((unexpected + $(grep -cvE '^(200|503|504)$' "$dir/flood")))
grep -A 20 'ThreadSanitizer' "$dir/log" && status=66
if [[ $status -ne 0 || $unexpected -ne 0 ]]; then
    echo "race: exit status $status, $unexpected unexpected answers" >&2
    tail -20 "$dir/log" >&2
    exit 1
fi
echo "race: no report"
