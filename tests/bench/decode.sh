#!/bin/bash
# What decoding an image costs, in the daemon's threads and in its helper processes, by each decoder:
#   tests/bench/decode.sh BUILD STB_BUILD [IMAGE...]
# Without images it makes some with Debian's tools: a photograph of tests/golden blown up to 1.0 and
# 2.2 million pixels with noise on it, as JPEG and PNG.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1 stb=$2
shift 2
if [[ $# -eq 0 ]]; then
    for tool in djpeg cjpeg pamscale pnmtopng pamarith pgmnoise rgb3toppm; do
        command -v $tool >/dev/null || {
            echo "decode.sh: $tool is missing (apt install netpbm libjpeg-turbo-progs), and no image was named" >&2
            exit 0
        }
    done
    made=build/bench-images
    mkdir -p $made
    for size in "1152 864" "1728 1296"; do
        read -r width height <<<"$size"
        photo=$made/$width.ppm
        pgmnoise -maxval 255 -randomseed 1 "$width" "$height" | pamdepth 255 | pamfunc -divisor 16 >$made/noise.pgm
        djpeg -pnm tests/golden/images/baseline-444.jpg | pamscale -width "$width" -height "$height" >$made/smooth.ppm
        rgb3toppm $made/noise.pgm $made/noise.pgm $made/noise.pgm >$made/noise.ppm
        pamarith -add $made/smooth.ppm $made/noise.ppm >"$photo"
        cjpeg -quality 85 "$photo" >$made/$width.jpg
        cjpeg -quality 85 -progressive "$photo" >$made/$width-progressive.jpg
        pnmtopng "$photo" >$made/$width.png 2>/dev/null
        set -- "$@" $made/$width.jpg $made/$width-progressive.jpg $made/$width.png
    done
fi
echo "decoding, libjpeg-turbo and stb_image (PNG):"
"$build/decode_bench" "$build/resnetd" "$@"
echo "decoding, stb_image alone:"
"$stb/decode_bench" "$stb/resnetd" "$@"
