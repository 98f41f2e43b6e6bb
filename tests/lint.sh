#!/bin/bash
# Keeps the house in order: who may include whom, which library is used where, one exported name
# per kernel file, headers that stand alone, formatting, sizes. Prints what is wrong, nothing else.
#   tests/lint.sh [ISA_OBJECT...]
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."

wrong=0
complain() {
    echo "lint: $*" >&2
    wrong=1
}

mapfile -t sources < <(find engine server config tests -name '*.[ch]' | sort)
mapfile -t house < <(find engine server config \( -name '*.[ch]' -o -name '*.inl' \) | sort)

# ---- one-way dependencies: a file includes its own room and the floors below it ----------------

# Prints "FLOOR ROOM" of a file; rooms of one floor do not see each other.
place() {
    case $1 in
    server/main.c) echo 90 main ;;
    server/cmd/* | server/pull/*) echo 80 cmd ;;
    server/routes.* | server/api_* | server/web.*) echo 70 api ;;
    server/accesslog.* | server/recent.*) echo 65 records_of_requests ;;
    server/http* | server/agent.* | server/pipeline* | server/registry.*) echo 60 core ;;
    server/workers.* | server/runner.* | server/reuse.* | server/decode.* | server/sandbox* | server/pixels.*) echo 60 core ;;
    server/request.* | server/batcher.* | server/stats.*) echo 50 request ;;
    server/problem* | server/metrics.* | server/log.* | server/notify.*) echo 40 records ;;
    server/*) echo 30 tools ;;
    config/*) echo 20 config ;;
    engine/engine.h) echo 10 boundary ;;
    engine/*/*)
        case $1 in
        engine/load/*) echo 8 load ;;
        engine/plan/*) echo 8 plan ;;
        engine/image/*) echo 8 image ;;
        engine/graph/*) echo 7 graph ;;
        engine/op/*) echo 6 op ;;
        engine/kernel/*) echo 5 kernel ;;
        engine/base/*) echo 4 base ;;
        *) echo 0 nowhere ;;
        esac
        ;;
    engine/*) echo 9 engine ;;
    *) echo 0 nowhere ;;
    esac
}

may_include() { # FROM TO
    local from to from_floor from_room to_floor to_room
    from=$1 to=$2
    case "$from $to" in
    *" engine/engine.h" | *" engine/base/status.h") [[ $from != config/* ]]; return ;;
    "server/request.c server/registry.h") return 0 ;; # the model's reference goes with the request
    esac
    read -r from_floor from_room < <(place "$from")
    read -r to_floor to_room < <(place "$to")
    [[ $to_room != nowhere ]] || return 1
    case "${from%%/*} ${to%%/*}" in
    "config config" | "engine engine" | "server server") ;;
    "server config") [[ $from_floor -ge 80 ]]; return ;;
    *) return 1 ;;
    esac
    [[ $to_floor -lt $from_floor || $to_room == "$from_room" ]]
}

while IFS=: read -r file include; do
    may_include "$file" "$include" || complain "$file must not include $include"
done < <(grep -HoP '^#include "\K[^"]+' "${house[@]}" | sort -u)

# ---- libraries: PATTERN of the header, then the files that may use it --------------------------

only_in() {
    local header=$1 file
    shift
    for file in $(grep -lE "^#include <($header)>" "${house[@]}"); do
        local allowed=no pattern
        for pattern in "$@"; do
            # shellcheck disable=SC2053
            [[ $file == $pattern ]] && allowed=yes
        done
        [[ $allowed == yes ]] || complain "$file must not include <${header/\\/}>"
    done
}
only_in 'jansson\.h' 'config/*' 'server/api_*' 'server/cmd/*' server/problem.c 'engine/load/*'
only_in 'microhttpd\.h' 'server/http*'
only_in 'curl/.*' 'server/pull/*'
only_in 'gnutls/.*' server/http_tls.c
only_in 'uv\.h' 'server/http*' server/agent.c 'server/pipeline*' server/workers.c server/runner.c server/reuse.c server/decode.c server/pixels.c server/sandbox.c \
    server/registry.c server/cmd/serve.c server/cmd/models.c server/cmd/pool.c 'server/cmd/watchdog.*' 'server/cmd/children.*' 'server/cmd/drain.*' 'server/waiting.*'
only_in 'stb/.*' engine/image/decode_stb.c server/png.c
only_in 'pthread\.h' 'engine/base/threads.*'

# ---- one exported name per kernel table --------------------------------------------------------

for object in "$@"; do
    names=$(nm -g --defined-only "$object" | wc -l)
    [[ $names -eq 1 ]] || complain "$object exports $names names instead of its table alone"
done

# ---- headers compile alone (simd/ ones belong to the flags of their kernel file) ----------------

for header in "${house[@]}"; do
    [[ $header == *.h && $header != engine/kernel/simd/* ]] || continue
    ${CC:-cc} -std=c17 -D_GNU_SOURCE -I. -fsyntax-only -x c "$header" ||
        complain "$header does not compile alone"
done

# ---- form ---------------------------------------------------------------------------------------

for file in "${house[@]}"; do
    lines=$(wc -l <"$file")
    [[ $lines -le 500 || $file == *_labels.c ]] || complain "$file has $lines lines, over 500"
done
for file in "${sources[@]}"; do
    head -n 30 "$file" | grep -q 'SPDX-License-Identifier: MIT' || complain "$file has no SPDX line"
done
if grep -nP '\b(TODO|FIXME|XXX)\b|\b(alloca|strcpy|sprintf|gets)\(' "${house[@]}" >&2; then
    complain "these words have no place here"
fi
if command -v clang-format >/dev/null; then
    for file in "${sources[@]}"; do
        clang-format --dry-run -Werror "$file" 2>/dev/null || complain "$file wants 'make format'"
    done
else
    echo "lint: FORMATTING NOT CHECKED, clang-format is not installed" >&2
fi

exit $wrong
