#!/bin/bash
# Inputs to begin with, so that a fuzzer need not find the grammar first, where its input is no file
# that lies here already, and those that earlier runs have grown: tests/fuzz/make_seeds.sh FOLDER
# SPDX-License-Identifier: MIT
set -euo pipefail
out=$1
mkdir -p "$out"/{exif,guard,multipart,body,config,v2}

# TIFF headers of both byte orders, a directory with orientation 6
printf 'II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0' >"$out/exif/little"
printf 'MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0' >"$out/exif/big"

# a target, then header lines
printf '/classify?top_k=3\nHost: example.org:80\nContent-Length: 5\n' >"$out/guard/length"
printf '/\nHost: [::1]:8080\nTransfer-Encoding: chunked\nAccept: */*\n' >"$out/guard/chunked"
printf '/%%41\nHost: a\nHost: b\nContent-Length: 1\nContent-Length: 2\n' >"$out/guard/twice"

# a Content-Type, a NUL, the form
type='multipart/form-data; boundary=B'
part='--B\r\nContent-Disposition: form-data; name="image"; filename="a b.jpg"\r\n'
field='--B\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n3\r\n'
# shellcheck disable=SC2059
{
    printf "$type\0${part}Content-Type: image/jpeg\r\n\r\n\xff\xd8\xff\r\n--B--\r\n" >"$out/multipart/file"
    printf "$type\0$part\r\nx\r\n$part\r\n\r\n$field--B--" >"$out/multipart/fields"
}

# the number of a Content-Type (0 is JSON), the body
json() { printf '\0%s' "$2" >"$out/body/$1"; }
json image '{"image":"/9j/4AA=","top_k":3,"timeout_ms":100}'
json images '{"images":[{"name":"a","image":"data:image/png;base64,iVBORw0K"},{"image":""}]}'
json inputs '{"inputs":"/9j/4AA=","parameters":{"top_k":2,"function_to_apply":"softmax"}}'

# the JSON's length in eights (\377: no header), JSON, binary tensors
v2='{"inputs":[{"name":"input","shape":'
data='0,1,2,3,4,5,6,7,8,9,10,11'
printf '\377%s[1,3,2,2],"datatype":"FP32","data":[%s]}]}' "$v2" "$data" >"$out/v2/fp32"
printf '\377%s[1,2,2,3],"datatype":"UINT8","data":[%s]}],"id":"1"}' "$v2" "$data" >"$out/v2/uint8"
printf '\377%s[1],"datatype":"BYTES","data":["/9j/4AA="]}],"outputs":[{"name":"probabilities","parameters":{"classification":2}}]}' \
    "$v2" >"$out/v2/base64"
printf '\017%-120s\003\0\0\0abc' "$v2"'[1],"datatype":"BYTES","parameters":{"binary_data_size":7}}]}' >"$out/v2/bytes"
printf '\020%-128s%012d' "$v2"'[1,3,2,2],"datatype":"UINT8","parameters":{"binary_data_size":12}}]}' 0 >"$out/v2/binary"
printf '\0%048d' 0 >"$out/v2/raw"

printf '{"listen":"127.0.0.1:0","max_batch":8,"max_body_bytes":"3M","model":["a=b.safetensors"]}' \
    >"$out/config/some"
cp config/resnetd.json "$out/config/all"

tar -xzf "$(dirname "$0")/grown.tar.gz" -C "$out"
