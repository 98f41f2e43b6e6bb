# What the load scripts share, to be sourced: a server of their own, which tools and images there
# are, and a last word that names the script.
# SPDX-License-Identifier: MIT
# shellcheck shell=bash

server=

fail() {
    echo "$(basename "$0" .sh): $*" >&2
    exit 1
}

need() { # TOOL...
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing; apt install $tool"
    done
}

# Sets images: the pictures among some files and folders, 200 at most.
find_images() { # FILE|FOLDER...
    mapfile -t images < <(find "$@" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) |
        sort | head -n 200)
    [[ ${#images[@]} -gt 0 ]] || fail "no .jpg or .png among: $*"
}

# Sets server, its process, and url; stop() ends it, also when the script ends.
start_server() { # BINARY OPTION...
    local output line
    [[ -x $1 ]] || fail "$1 is missing; run make"
    exec {output}< <(exec "$1" serve --listen 127.0.0.1:0 --access-log= "${@:2}" 2>&1)
    server=$!
    url=
    while [[ -z $url ]] && read -r -u "$output" line; do
        [[ $line =~ http://127\.0\.0\.1:[0-9]+ ]] && url=${BASH_REMATCH[0]}
    done
    [[ -n $url ]] || fail "the server did not start: ${line:-no message}"
    cat <&"$output" >/dev/null & # or its log would fill the pipe
    wait_until_ready "$url/readyz"
}

wait_until_ready() { # URL
    local _
    for _ in {1..600}; do
        curl -fs -o /dev/null "$1" && return 0
        sleep 0.1
    done
    fail "$1 does not answer"
}

stop() {
    [[ -n $server ]] || return 0
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}
trap stop EXIT
