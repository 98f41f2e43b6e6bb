#!/bin/sh
# What gcovr counted, by folder and for the ten worst files: tests/coverage.sh SUMMARY.json
# Fails below 90 % of lines. What is for instructions that this CPU lacks is left out, and named.
# SPDX-License-Identifier: MIT
exec python3 - "$1" <<'PYTHON'
import collections, json, sys
files = json.load(open(sys.argv[1]))["files"]
flags = open("/proc/cpuinfo").read().split()
needs = {"avx2": "avx2", "avx512": "avx512f", "amx": "amx_bf16", "bf16x3": "amx_bf16"}
def lacks(name):
    return any(word in name and flag not in flags for word, flag in needs.items())
for f in files:
    if lacks(f["filename"]):
        print(f"left out, not for this CPU: {f['filename']}, {f['line_total']} lines")
files = [f for f in files if not lacks(f["filename"])]
rooms = collections.defaultdict(lambda: [0, 0])
for f in files:
    room = f["filename"].rsplit("/", 1)[0]
    for key in (room, "all"):
        rooms[key][0] += f["line_covered"]
        rooms[key][1] += f["line_total"]
for room, (covered, total) in sorted(rooms.items(), key=lambda r: (r[0] == "all", r[0])):
    print(f"{100 * covered / total:5.1f} %  {covered:5d} of {total:5d}  {room}")
print("worst:")
for f in sorted(files, key=lambda f: f["line_percent"])[:10]:
    print(f"{f['line_percent']:5.1f} %  {f['line_covered']:5d} of {f['line_total']:5d}  {f['filename']}")
covered, total = rooms["all"]
sys.exit(100 * covered < 90 * total)
PYTHON
