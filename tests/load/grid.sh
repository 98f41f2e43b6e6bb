#!/bin/bash
# Are the defaults right, whatever the machine? For shares of 0.5, 1 and 2 cores, offers more than
# can be served to the daemon with its defaults and with a grid of settings, and prints answers
# within the deadline a second. Verdict: the defaults are at most 10 % under the best.
# A share is a quota of a cgroup (v1 or v2) where one can be made, which takes root. Elsewhere 2 is
# everything, 1 an affinity, and 0.5 that with a busy neighbour on the core.
#   tests/load/grid.sh BINARY OPEN_LOOP [IMAGE|FOLDER...]
# MODEL, DEADLINE_MS=200, SECONDS_EACH=3, RATE=1800 (offered per second and core) and
# SHARES="0.5 1 2" may be set.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$1
open_loop=$2
shift 2
. tests/load/server.sh
need curl jq taskset
[[ $# -gt 0 ]] || set -- tests/golden/images/baseline-*.jpg
find_images "$@"

grid=("" "--max-batch 1" "--max-batch 4" "--max-batch 16" "--max-batch 32" "--batch-window-ms 0"
    "--batch-window-ms 2" "--batch-window-ms 8" "--decode-workers 1" "--threads 1"
    "--threads 1 --decode-workers 1" "--max-batch 16 --batch-window-ms 2")
neighbour= group=
clean() {
    stop
    [[ -z $neighbour ]] || kill "$neighbour" 2>/dev/null || true
    [[ -z $group ]] || rmdir "$group" 2>/dev/null || true
}
trap clean EXIT

# Sets group, with that share of a core; false where there are no cgroups for us.
make_group() { # SHARE
    local period=100000
    if [[ -e /sys/fs/cgroup/cpu/cpu.cfs_quota_us || -e /sys/fs/cgroup/cpu/cgroup.procs ]]; then
        group=/sys/fs/cgroup/cpu/resnetd-grid-$$
        { mkdir -p "$group" && awk "BEGIN { print $1 * $period }" >"$group/cpu.cfs_quota_us"; } 2>/dev/null && return
    elif grep -qw cpu /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; then
        group=/sys/fs/cgroup/resnetd-grid-$$
        { mkdir -p "$group" && awk "BEGIN { print $1 * $period, $period }" >"$group/cpu.max"; } 2>/dev/null && return
    fi
    group=
    return 1
}

good() { # SHARE SETTINGS
    local launcher
    launcher=$(mktemp)
    if [[ -n $group ]]; then
        printf '#!/bin/bash\necho $$ >%q\nexec %q "$@"\n' "$group/cgroup.procs" "$binary" >"$launcher"
    else
        printf '#!/bin/bash\nexec %s %q "$@"\n' "$([[ $1 == 2 ]] || echo taskset -c 0)" "$binary" >"$launcher"
    fi
    chmod +x "$launcher"
    # shellcheck disable=SC2086
    start_server "$launcher" $2 ${MODEL:+--model "$MODEL"}
    rm -f "$launcher"
    local client=()
    [[ $1 == 2 || -n $group ]] || client=(taskset -c 1)
    # once to learn, once to count
    for seconds in 1 "${SECONDS_EACH:-3}"; do
        "${client[@]}" "$open_loop" --url "$url/classify" --rate "$(awk "BEGIN { print $1 * ${RATE:-1800} }")" --seconds "$seconds" \
            --deadline-ms "${DEADLINE_MS:-200}" "${images[@]}"
    done | tail -n 1 | jq .good_per_second
    stop
}

missed=0
for share in ${SHARES:-0.5 1 2}; do
    if make_group "$share"; then
        how="quota"
    elif [[ $share == 0.5 ]]; then
        how="one core beside a busy neighbour"
        taskset -c 0 bash -c 'while :; do :; done' &
        neighbour=$!
    else
        how="affinity"
    fi
    best=0 default=
    for settings in "${grid[@]}"; do
        value=$(good "$share" "$settings")
        default=${default:-$value}
        printf '  share %-4s %-34s %8.1f in time/s\n' "$share" "${settings:-(defaults)}" "$value"
        best=$(awk "BEGIN { print ($value > $best) ? $value : $best }")
    done
    [[ -z $neighbour ]] || kill "$neighbour"
    neighbour=
    word=kept
    if [[ -n $group ]]; then
        sleep 0.2 # until the last one has left
        rmdir "$group"
    fi
    awk "BEGIN { exit !($default > 0 && $default >= 0.9 * $best) }" || { word=MISSED; missed=$((missed + 1)); }
    awk "BEGIN { printf \"share $share ($how): defaults %.1f, best of the grid %.1f: %.0f %% (>= 90) $word\n\", \
        $default, $best, 100 * $default / ($best + 1e-9) }"
done
[[ $missed -eq 0 ]]
