#!/bin/bash
# resnetd beside ONNX Runtime on the same cores: pairs of runs taken in turn, the median of their
# ratios. Also what the machine can do and how near to it each net comes.
#   tests/bench/run.sh BINARY [MODEL...]         default: resnet18 resnet34 resnet50
#   THREADS=2 BATCHES="1 8" ROUNDS=5 SECONDS_EACH=2 may be set
# Downloads onnxruntime-node from the npm registry into build/peer; makes the models with
# python3-onnx. Without node, npm or python3-onnx it times resnetd alone and says so.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$1
shift
[[ $# -gt 0 ]] || set -- resnet18 resnet34 resnet50
threads=${THREADS:-$(nproc)}
peer=build/peer
mkdir -p "$peer"

have_peer=yes
command -v node >/dev/null && command -v npm >/dev/null || have_peer=
/usr/bin/python3 -c 'import onnx, numpy' 2>/dev/null || {
    echo "bench: python3-onnx is missing (apt install python3-onnx): the embedded model alone" >&2
    exec "$binary" bench --batch 1,8
}
if [[ -n $have_peer && ! -d $peer/node_modules/onnxruntime-node ]]; then
    # Its install script asks for a GPU library, which is not wanted.
    npm install --prefix "$peer" --ignore-scripts --no-fund --no-audit onnxruntime-node >/dev/null ||
        have_peer=
fi
[[ -n $have_peer ]] || echo "bench: node or onnxruntime-node is missing: resnetd alone" >&2
cp tests/bench/ort.mjs "$peer/"

median_ms() {
    "$binary" bench --model "$peer/$1.safetensors" --batch "$2" --threads "$threads" \
        --seconds "${SECONDS_EACH:-2}" --json |
        /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["runs"][0]["median_ms"])'
}

"$binary" bench --threads "$threads" --batch 1 --seconds 0.1 | head -n 1
for model in "$@"; do
    [[ -s $peer/$model.onnx ]] || /usr/bin/python3 tests/bench/make_models.py "$model" "$peer"
    for batch in ${BATCHES:-1 8}; do
        ours=() theirs=()
        for ((round = 0; round < ${ROUNDS:-5}; round++)); do
            ours+=("$(median_ms "$model" "$batch")")
            [[ -n $have_peer ]] && theirs+=("$(node "$peer/ort.mjs" "$peer/$model.onnx" "$batch" \
                "$threads" "${SECONDS_EACH:-2}")")
        done
        /usr/bin/python3 - "$model" "$batch" "$threads" "${ours[*]}" "${theirs[*]-}" <<'PY'
import statistics, sys
model, batch, threads, ours, theirs = sys.argv[1:]
ours, theirs = [[float(t) for t in text.split()] for text in (ours, theirs)]
line = f"{model:15} batch {batch:2} {threads} threads: resnetd {statistics.median(ours):8.2f} ms"
if theirs:
    ratio = statistics.median(b / a for a, b in zip(ours, theirs))
    line += f", ONNX Runtime {statistics.median(theirs):8.2f} ms, ratio {ratio:.2f}"
print(line)
PY
    done
done
