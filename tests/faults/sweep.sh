#!/bin/bash
# Lets the k-th call of a kind fail, for every k, from the start of the daemon over a JPEG, a PNG, a
# form, a reload and a refused file to its end; then, for some two dozen k, the k-th and all after it:
#   tests/faults/sweep.sh BINARY FAIL.SO [KIND [STEP]]
# Whatever fails: the daemon answers, or says in a line why it does not start; it is never ended by
# a signal and never hangs. Prints a line per failure and a summary.
# SPDX-License-Identifier: MIT
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
binary=$1 library=$(realpath "$2") kind=${3:-malloc} step=${4:-1}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
images=tests/golden/images
sticky=24

ask() { # prints the status; 000 or 100 where the connection broke
    curl -s -o /dev/null -m "$limit" -w '%{http_code}\n' --unix-socket "$1" "${@:2}"
}

# One life with plan $1 in folder $2; prints nothing when all is well.
live() {
    local plan=$1 d=$2 socket=$2/socket pid status code
    local limit=10 polls=500 # seconds for anything, and for the start
    if [[ $plan == *+ ]]; then # nobody may be there to answer, or to accept
        limit=0.5 polls=5
    fi
    rm -rf "$d" && mkdir -p "$d"
    timeout -s ABRT 30 env FAIL="$plan" FAIL_COUNT="$d/count" LD_PRELOAD="$library" "$binary" serve \
        --model config/models/cifar10-resnet20.safetensors --listen "unix:$socket" \
        --decode-isolation thread --cache-bytes 1M --access-log "$d/access" \
        2>"$d/log" &
    pid=$!
    for _ in $(seq $polls); do
        kill -0 $pid 2>/dev/null || break
        [[ $(ask "$socket" http://x/readyz) == 200 ]] && break
        sleep 0.02
    done
    if kill -0 $pid 2>/dev/null; then
        {
            ask "$socket" -T $images/baseline-420.jpg http://x/classify
            ask "$socket" -T $images/palette4.png http://x/classify
            ask "$socket" -F a=@$images/grey.jpg -F b=@$images/grey8.png http://x/classify
            ask "$socket" -T README.md http://x/classify
            ask "$socket" -T $images/grey.jpg "http://x/classify?explain=cam&explain_format=png"
            ask "$socket" -T $images/grey.jpg "http://x/features?layer=layer3.2.relu&format=json"
            ask "$socket" -T $images/grey.jpg "http://x/features?layer=conv1&top=2"
            ask "$socket" http://x/metrics
            pkill -HUP -P $pid
            ask "$socket" -T $images/cmyk.jpg http://x/classify
        } >"$d/codes"
        # after the one failure all must be well
        if [[ $plan != *+ ]]; then
            for _ in 1 2; do # the failure may have been saved up for the first
                code=$(ask "$socket" -T $images/coarse.jpg http://x/classify)
                [[ $code == 200 ]] && break
            done
            [[ $code == 200 ]] || echo "$plan: afterwards $code"
        fi
        pkill -TERM -P $pid
    fi
    wait $pid
    status=$?
    grep -qvE '^(200|415|422|500|503|000|100)$' "$d/codes" 2>/dev/null && echo "$plan: answers $(tr '\n' ' ' <"$d/codes")"
    if [[ $status -gt 3 ]]; then
        echo "$plan: status $status: $(tail -n 1 "$d/log")"
    elif [[ $status -ne 0 && ! -s $d/log ]]; then
        echo "$plan: status $status without a word"
    fi
}

live "$kind:2000000000" "$dir/all"
read -r n _ <"$dir/all/count" || n=0
[[ $n -gt 0 ]] || { echo "sweep: nothing was counted" >&2; cat "$dir/all/log" >&2; exit 1; }
for ((first = 1; first <= 2; first++)); do
    {
        for ((k = first; k * step <= n + step; k += 2)); do
            live "$kind:$((k * step))" "$dir/$first"
        done
        for ((k = first; k <= sticky; k += 2)); do
            live "$kind:$((1 + (k - 1) * n / sticky))+" "$dir/$first"
        done
    } >"$dir/wrong.$first" &
done
wait
sort -V "$dir"/wrong.* | tee "$dir/wrong"
echo "$kind: $n calls, every ${step}th failed, then all from $sticky of them on; $(wc -l <"$dir/wrong") lives went wrong"
[[ ! -s $dir/wrong ]]
