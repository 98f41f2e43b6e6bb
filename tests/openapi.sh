#!/bin/bash
# server/openapi.json: linted by redocly, and held against what the end-to-end tests have seen.
#   tests/openapi.sh EXCHANGES
# redocly comes from the npm registry into build/redocly; without npm and node >= 20 the lint is
# skipped, loudly.
# SPDX-License-Identifier: MIT
set -euo pipefail
exchanges=$1
redocly=@redocly/cli@2.77.0

if command -v npm >/dev/null && [[ $(node -p 'process.versions.node.split(".")[0]') -ge 20 ]]; then
    [[ -x build/redocly/node_modules/.bin/redocly ]] ||
        npm install --prefix build/redocly --ignore-scripts --no-fund --no-audit --silent "$redocly"
    REDOCLY_TELEMETRY=off build/redocly/node_modules/.bin/redocly lint server/openapi.json 2>&1 |
        grep -vE '^ *[║╔╚]|^$'
else
    echo "openapi: LINT SKIPPED, there is no npm with node 20" >&2
fi
[[ -s $exchanges ]] || {
    echo "openapi: $exchanges is missing; run 'make run-tests' first" >&2
    exit 1
}
tests/openapi.py server/openapi.json "$exchanges"
