#!/bin/bash
# Posts every file of a folder to the server, built with AddressSanitizer and UBSan, and counts the
# answers:
#   tests/torture.sh BINARY FOLDER
# Each must be one of 200, 400, 413, 415, 422, 431 within 2 s; no sanitizer reports, no helper dies, the
# process that started is the one that ends. Four are posted at a time, which a busy machine shows: a
# file that took longer is posted once more, alone, and judged by that. Public corpora that it has been run with: SECURITY.md.
# SPDX-License-Identifier: MIT
set -uo pipefail
binary=$1 folder=$2
dir=$(mktemp -d)
trap 'kill -9 $server 2>/dev/null; rm -rf "$dir"' EXIT

"$binary" serve --listen "unix:$dir/socket" --access-log "" --max-decode-ms 10000 \
    --timeout-ms 60000 2>"$dir/log" &
server=$!
for _ in $(seq 300); do
    curl -s --unix-socket "$dir/socket" http://x/readyz | grep -q '"ready":true' && break
    sleep 0.1
done

find -L "$folder" -type f -size +0 | sort >"$dir/files"
post() { # a socket, then a file
    local code
    code=$(curl -s -m 10 -o /dev/null -w '%{http_code} %{time_total}' --unix-socket "$1" \
        -H 'Content-Type: image/jpeg' --data-binary "@$2" http://x/classify)
    printf '%s %s\n' "$code" "$2"
}
export -f post
tr '\n' '\0' <"$dir/files" | xargs -0 -P 4 -n 1 bash -c 'post "$0" "$1"' "$dir/socket" >"$dir/answers"

awk '$2 > 2' "$dir/answers" | tee "$dir/late" | cut -d ' ' -f 3- | while IFS= read -r file; do
    post "$dir/socket" "$file"
done >"$dir/again"
slow=$(awk '$2 > 2 { print > "/dev/stderr"; n++ } END { print n + 0 }' "$dir/again")

deaths=$(curl -s --unix-socket "$dir/socket" http://x/metrics |
    awk '$1 == "resnetd_decode_helper_deaths_total" { print $2 }')
kill -TERM $server
wait $server
status=$?

awk '{ n[$1]++; if ($2 > slowest) { slowest = $2; file = $3 } }
    END { for (code in n) print n[code], code; print "slowest", slowest, "s", file }' "$dir/answers"
unexpected=$(grep -cvE '^(200|400|413|415|422|431) ' "$dir/answers")
grep -vE '^(200|400|413|415|422|431) ' "$dir/answers" | head -n 20
reports=$(grep -cE 'runtime error:|Sanitizer' "$dir/log")
grep -E -A 15 'runtime error:|Sanitizer' "$dir/log" | head -n 60
echo "torture: $(wc -l <"$dir/files") files, $unexpected unexpected answers, $slow above 2 s ($(wc -l \
    <"$dir/late") among others), $reports reports, ${deaths:-0} helpers died, exit status $status"
[[ -s $dir/files && $unexpected -eq 0 && $slow -eq 0 && $reports -eq 0 && ${deaths:-0} == 0 && $status -eq 0 ]]
