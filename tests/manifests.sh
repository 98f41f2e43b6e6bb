#!/bin/bash
# Are the files of docs/deploy what the programs that read them take? haproxy -c, nginx -t; the
# Kubernetes and KEDA manifests against their published types (npm: kubernetes-models and its keda
# companion, which are made from the OpenAPI files and the CRD), unknown fields included; KServe's
# against its CRDs where KSERVE_CRDS names a folder with them, Envoy's against its interface where
# ENVOY_API names one (see envoy.py); settings against the program itself.
#   tests/manifests.sh BINARY
# SPDX-License-Identifier: MIT
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
binary=$1
broken=0

verdict() { # WHAT STATUS
    local word=good
    [[ $2 -eq 0 ]] || word=BROKEN broken=1
    printf 'manifests  %-6s  %s\n' "$word" "$1"
}

if command -v haproxy >/dev/null; then
    haproxy -c -q -f docs/deploy/haproxy.cfg
    verdict "docs/deploy/haproxy.cfg: $(haproxy -v | head -n 1 | cut -d' ' -f1-3)" $?
else
    echo "manifests: SKIPPED, haproxy is not installed"
fi
if command -v nginx >/dev/null; then
    folder=$(mktemp -d)
    nginx -q -t -e stderr -g "pid $folder/pid;" -c "$PWD/docs/deploy/nginx.conf"
    verdict "docs/deploy/nginx.conf: $(nginx -v 2>&1 | sed 's/.*: //')" $?
    rm -rf "$folder"
else
    echo "manifests: SKIPPED, nginx is not installed"
fi

if [[ -n ${ENVOY_API:-} ]]; then
    tests/envoy.py "$ENVOY_API" docs/deploy/envoy.yaml
    verdict "docs/deploy/envoy.yaml: Envoy's interface" $?
else
    echo "manifests  SKIPPED  docs/deploy/envoy.yaml: ENVOY_API names no folder with its interface"
fi

modules=build/manifests
mkdir -p "$modules"
if [[ ! -d $modules/node_modules/typescript ]]; then
    npm install --prefix "$modules" --ignore-scripts --no-fund --no-audit yaml@2 ajv@8 typescript@5 \
        kubernetes-models@4 @kubernetes-models/keda@0 >/dev/null || {
        echo "manifests: SKIPPED, npm could not install what checks the Kubernetes files"
        exit $broken
    }
fi
cp tests/manifests.mjs "$modules/check.mjs"
node "$modules/check.mjs" "$binary" docs/deploy ${KSERVE_CRDS:+"$KSERVE_CRDS"}
[[ $? -eq 0 && $broken -eq 0 ]]
