"""Rows about images: bombs, decoding beside other decoders, the memory of the worst together.

CORPUS names a folder of images of others, in any folders: PngSuite as github.com/nothings/stb has it
(…/pngsuite/primary/*.png), the scenes of github.com/recurser/exif-orientation-examples, and whatever
else is to be decoded beside djpeg and libpng.

SPDX-License-Identifier: MIT
"""
import glob
import json
import multiprocessing
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
import zlib

from promises_support import (BINARY, IMAGES, MIB, Server, children, cpu_seconds, image, row, skip,
                              status_kib)

# ---- bombs ---------------------------------------------------------------------------------------

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(n):
    """n bytes of zeros, compressed, without ever having them: children would inherit the peak."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(min(MIB, n - at))) for at in range(0, n, MIB)]
    return b"".join(parts) + packer.flush()


def png(width, height, n_bytes, depth=8, interlaced=0, extra=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra +
            chunk(b"IDAT", zeros(n_bytes)) + chunk(b"IEND", b""))


def bombs():
    progressive = image("progressive-444.jpg")
    last = progressive.rfind(b"\xff\xda")
    scans = progressive[:last] + progressive[last:-2] * 1000 + b"\xff\xd9"
    baseline = image("baseline-420.jpg")
    table = baseline.find(b"\xff\xc4")
    full = bytearray(baseline)
    full[table + 5:table + 21] = b"\xff" * 16
    frame = baseline.find(b"\xff\xc0")
    wide = bytearray(baseline)
    wide[frame + 5:frame + 9] = b"\xff\xff\xff\xff"
    factors = bytearray(baseline)
    factors[frame + 11] = 0x3F
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 5000
    tiff = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + scans[2:]
    yield "PNG of 60000 x 60000", png(60000, 60000, 100), True
    yield "1 x 1 PNG that inflates to 1 GB", png(1, 1, 1 << 30), True
    yield "JPEG of 1000 scans", scans, True
    yield "JPEG of 65535 x 65535", bytes(wide), True
    yield "JPEG with over-full Huffman table", bytes(full), True
    yield "JPEG with sampling factor 15", bytes(factors), True
    yield "PNG of 64000 chunks", png(8, 8, 200, extra=chunk(b"tEXt", b"a\0b") * 64000), True
    yield "Exif of 65535 entries, 1000 scans behind it", tiff, True
    yield "interlaced PNG of 16 bits, 10 Mpx", png(3200, 3200, 3200 * 3200 * 6 + 26000, 16, 1), False
    yield "interlaced PNG of 16 bits, 25 Mpx", png(5000, 5000, 5000 * 5000 * 6 + 9375, 16, 1), False


def row_11():
    server = Server("--decode-workers", "1")
    for _ in range(20):
        server.ask("POST", "/classify", image("crop-wide.png"))
    base = status_kib(server.process.pid, "VmRSS")
    for name, bomb, by_header in bombs():
        helper = server.helpers()[0]
        open(f"/proc/{helper}/clear_refs", "w").write("5")
        before, cpu = status_kib(helper, "VmHWM"), cpu_seconds(helper)
        best, codes = 1e9, set()
        for _ in range(3 if by_header else 1):
            start = time.monotonic()
            code, body = server.ask("POST", "/classify", bomb)
            best = min(best, time.monotonic() - start)
            codes.add(code)
        slug = json.loads(body)["type"].split("/")[-1] if code != 200 else "classified"
        grown = (status_kib(helper, "VmHWM") - before) / 1024 - len(bomb) / MIB
        cpu = cpu_seconds(helper) - cpu
        if by_header:
            kept = codes == {422} and best <= 0.020 + len(bomb) / 100e6 and grown <= 4
            row(11, f"{name}: 422, 20 ms, 4 MiB", f"{slug}, {best * 1e3:.1f} ms, {max(grown, 0):.1f} MiB"
                f" ({len(bomb) / 1024:.0f} KiB sent)", kept)
        else:
            row(11, f"{name}: 4xx or right, 1 s CPU, 192 MiB",
                f"{slug}, {cpu:.2f} s CPU, {max(grown, 0):.0f} MiB", cpu <= 1.1 and grown <= 192)
    after = status_kib(server.process.pid, "VmRSS")
    row(11, "resident memory of the daemon afterwards: +-8 MiB", f"{(after - base) / 1024:+.1f} MiB",
        after - base <= 8 * 1024)
    server.stop()


def percentile(server, mark, clients=4, each=500):
    """The 99th percentile of usual requests, of some clients at a time, and all their codes."""
    photo, times, codes = image("crop-wide.png"), [], set()

    def usual(client):
        for i in range(each):
            start = time.monotonic()
            codes.add(server.ask("POST", "/classify", photo + f"{mark} {client} {i}".encode())[0])
            times.append(time.monotonic() - start)
            time.sleep(0.005)
    threads = [threading.Thread(target=usual, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times)[len(times) * 99 // 100], codes


def throw(server, bodies, count):
    """Those bodies in turn for ever; at idle priority, since senders have cores of their own."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        for body in bodies:
            server.ask("POST", "/classify", body)
            count.value += 1


def row_11_beside():
    server = Server("--decode-workers", "2")
    percentile(server, "first", each=50)
    alone, _ = percentile(server, "alone")
    count = multiprocessing.Value("i", 0)
    sender = multiprocessing.Process(target=throw, args=(server, [bomb for _, bomb, _ in bombs()], count))
    sender.start()
    beside, codes = percentile(server, "beside")
    sender.kill()
    sender.join()
    row(11, "four usual clients beside bombs: all 200, p99 at most twice", f"{count.value} bombs, p99 "
        f"{alone * 1e3:.1f} -> {beside * 1e3:.1f} ms", codes == {200} and beside <= 2 * alone)
    server.stop()


# ---- other decoders ------------------------------------------------------------------------------

def pixels(data):
    """(width, height, RGB bytes, comment) of a PBM, PGM or PPM."""
    fields, at, comment = [], 0, ""
    while len(fields) < (3 if data[:2] == b"P4" else 4):
        end = at
        while data[end:end + 1] not in (b" ", b"\n"):
            end += 1
        if data[at:at + 1] == b"#":
            end = data.index(b"\n", at)
            comment = data[at + 1:end].decode().strip()
        elif end > at:
            fields.append(data[at:end])
        at = end + 1
    kind, width, height = fields[0], int(fields[1]), int(fields[2])
    raw = data[at:]
    if kind == b"P4":
        stride = (width + 7) // 8
        bits = (raw[y * stride + x // 8] >> (7 - x % 8) & 1 for y in range(height) for x in range(width))
        return width, height, bytes(v for bit in bits for v in [255 * (1 - bit)] * 3), comment
    most = int(fields[3])
    if most > 255:  # the high bytes, as resnetd keeps them; sBIT makes pngtopnm shift values down
        raw = bytes((high << 8 | low) * 256 // (most + 1) for high, low in zip(raw[::2], raw[1::2]))
    elif most < 255:
        raw = bytes(v * 255 // most for v in raw)
    if kind == b"P5":
        raw = bytes(v for grey in raw for v in (grey, grey, grey))
    return width, height, raw, comment


def upright(width, height, rgb, orientation):
    """Turned as Exif says, by its definition of where row 0 and column 0 belong."""
    px = [rgb[i:i + 3] for i in range(0, len(rgb), 3)]
    rows = [px[y * width:(y + 1) * width] for y in range(height)]
    if orientation >= 5:
        rows = [list(column) for column in zip(*rows)]
    if orientation in (3, 4, 7, 8):
        rows.reverse()
    if orientation in (2, 3, 6, 7):
        rows = [r[::-1] for r in rows]
    return b"".join(p for r in rows for p in r)


def compare(ours, others):
    """{file: (mean, largest difference)}; names of those that only one of both decodes."""
    found, alone = {}, []
    for path, command in others:
        mine = subprocess.run([ours, path], capture_output=True)
        theirs = subprocess.run([*command, path], capture_output=True)
        if mine.returncode or theirs.returncode or not theirs.stdout:
            if bool(mine.returncode) != bool(theirs.returncode):
                alone.append(os.path.basename(path))
            continue
        width, height, a, comment = pixels(mine.stdout)
        b_width, b_height, b, _ = pixels(theirs.stdout)
        b = upright(b_width, b_height, b, int(comment))
        if len(a) != len(b):
            found[path] = (255, 255)
            continue
        differences = [abs(p - q) for p, q in zip(a, b)]
        found[path] = sum(differences) / len(a), max(differences)
    return found, alone


def row_13():
    folders = [IMAGES] + ([os.environ["CORPUS"]] if os.environ.get("CORPUS") else [])
    files = sorted(p for folder in folders for p in glob.glob(folder + "/**/*", recursive=True))
    small = [p for p in files if os.path.getsize(p) < 100000]  # Python subtracts pixels slowly
    here = os.path.dirname(BINARY)
    for name, tool, ending, ours in (
            ("JPEG by libjpeg-turbo, beside djpeg", ["djpeg", "-rgb", "-pnm"], ".jpg", f"{here}/decode_ppm"),
            ("JPEG by stb_image, beside djpeg", ["djpeg", "-rgb", "-pnm"], ".jpg", "build/jpeg-stb/decode_ppm"),
            ("PNG by stb_image, beside libpng", ["pngtopnm"], ".png", f"{here}/decode_ppm")):
        # stb_image 2.27 mixes the last columns of 4:2:2 the wrong way round; what an index beyond a
        # short palette means PNG does not say
        left_out = "422" if "stb" in ours else "palette-short"
        others = [(p, tool) for p in small if p.endswith(ending) and left_out not in p]
        if not shutil.which(tool[0]) or not os.path.exists(ours):
            skip(13, name, f"{tool[0]} or {ours} is missing")
            continue
        found, alone = compare(ours, others)
        means, most = [m for m, _ in found.values()], [m for _, m in found.values()]
        row(13, f"{name}: mean <= 1, most <= 16 of 255", f"{len(found)} files: worst mean {max(means):.3f}, most "
            f"{max(most)}; only one decodes: {', '.join(alone) or 'none'}", max(means) <= 1 and max(most) <= 16)
    pngsuite()
    scenes = [p for p in files if re.search(r"(Landscape|Portrait)_[1-8]\.jpg$", p)]
    if not all(map(shutil.which, ("jpegtran", "djpeg", "pamflip", "pnmtopng"))):
        skip(13, "all 8 orientations", "jpegtran, djpeg, pamflip or pnmtopng is missing")
        return
    server = Server()
    turned(server, [IMAGES + "/baseline-444.jpg"] + [p for p in scenes if "_1." in p])
    if scenes:
        beside_upright(server, scenes)
    else:
        skip(13, "one scene in all 8 orientations", "CORPUS has no Landscape_1.jpg to Portrait_8.jpg")
    server.stop()


def pngsuite():
    """PngSuite as github.com/nothings/stb has it: what is intact is decoded, what is not is refused."""
    corpus = os.environ.get("CORPUS", "/no corpus")
    folders = {kind: glob.glob(f"{corpus}/**/pngsuite/{kind}/*.png", recursive=True)
               for kind in ("primary", "corrupt")}
    if not all(folders.values()):
        skip(13, "PngSuite", "CORPUS has no pngsuite/primary and pngsuite/corrupt")
        return
    server, wrong = Server(), []
    for kind, wanted in (("primary", (200,)), ("corrupt", (415, 422))):  # 415: not even a signature
        for path in folders[kind]:
            with open(path, "rb") as f:
                code = server.ask("POST", "/classify", f.read())[0]
            if code not in wanted:
                wrong.append(f"{os.path.basename(path)} ({code})")
    row(13, f"PngSuite: {len(folders['primary'])} intact files decoded, {len(folders['corrupt'])} corrupt ones "
        "refused", ", ".join(wrong) or "all", not wrong)
    server.stop()


def scores(server, data):
    return {p["index"]: p["score"]
            for p in json.loads(server.ask("POST", "/classify?top_k=10", data)[1])["predictions"]}


def furthest(ours, wanted):
    """The largest difference in the score of what is wanted first; infinite if that is not first."""
    first = max(wanted, key=wanted.get)
    return abs(ours[first] - wanted[first]) if max(ours, key=ours.get) == first else float("inf")


# What undoes an orientation, for jpegtran (how it is to be stored) and for pamflip (how it is shown).
STORED = {1: [], 2: ["-flip", "horizontal"], 3: ["-rotate", "180"], 4: ["-flip", "vertical"], 5: ["-transpose"],
          6: ["-rotate", "270"], 7: ["-transverse"], 8: ["-rotate", "90"]}
SHOWN = {1: ["-null"], 2: ["-leftright"], 3: ["-rotate180"], 4: ["-topbottom"], 5: ["-transpose"],
         6: ["-cw"], 7: ["-xform=transpose,leftright,topbottom"], 8: ["-ccw"]}


def turned(server, paths):
    """A photograph's own coefficients, turned by jpegtran and tagged."""
    spread = 0
    for path in paths:
        width, height = pixels(subprocess.run(["djpeg", "-pnm", path], capture_output=True, check=True).stdout)[:2]
        whole = f"{width // 16 * 16}x{height // 16 * 16}+0+0"  # blocks at an edge could not be turned
        plain = subprocess.run(["jpegtran", "-copy", "none", "-crop", whole, path],
                               capture_output=True, check=True).stdout
        wanted = scores(server, plain)
        for orientation, words in STORED.items():
            data = subprocess.run(["jpegtran", "-copy", "none", "-perfect", *words], input=plain,
                                  capture_output=True, check=True).stdout
            tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0" % orientation
            data = data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:]
            spread = max(spread, furthest(scores(server, data), wanted))
    row(13, "turned by jpegtran 8 ways: one first class, its score within 0.02",
        f"{len(paths)} photographs: {spread:.4f}", spread <= 0.02)


def beside_upright(server, paths):
    """Each of the 16 files, which are JPEGs of their own, beside its pixels as an upright PNG."""
    spread = 0
    for path in paths:
        shown = subprocess.run(f"djpeg -pnm {path} | pamflip {' '.join(SHOWN[int(path[-5])])} | pnmtopng",
                               shell=True, capture_output=True, check=True).stdout
        with open(path, "rb") as f:
            spread = max(spread, furthest(scores(server, f.read()), scores(server, shown)))
    row(13, "beside an upright PNG of it: one first class, its score within 0.02",
        f"{len(paths)} files: {spread:.4f}", spread <= 0.02)


# ---- the worst together --------------------------------------------------------------------------

CGROUP = "/sys/fs/cgroup/memory"


def family(pid):
    """A daemon, its zygote and the helpers."""
    return [pid] + [p for child in children(pid) for p in family(child)]


def row_24():
    server = Server("--max-upload-bytes", "64M", "--max-connections", "2500", "--decode-workers", "2")
    ceiling = int(re.search(rb"memory at most.*?bytes=(\d+)", server.text()).group(1))
    limit = f"{CGROUP}/resnetd-promises-{server.process.pid}"
    limited = os.access(CGROUP, os.W_OK) and os.path.exists(f"{CGROUP}/memory.limit_in_bytes")
    if limited:
        os.mkdir(limit)
        with open(f"{limit}/memory.limit_in_bytes", "w") as f:
            f.write(str(ceiling))
        for pid in family(server.process.pid):
            with open(f"{limit}/cgroup.procs", "w") as f:
                f.write(str(pid))
    pids = set(family(server.process.pid))
    photo, bomb = image("crop-wide.png"), png(5000, 5000, 5000 * 5000 * 6 + 5000, 16, 0)
    idle, stop, codes, peak = [], threading.Event(), [], [0]

    def idlers():  # kept-alive connections and uploads that stop half-way
        for i in range(2000):
            s = socket.create_connection(("127.0.0.1", server.port))
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" if i % 100 else
                      b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(2900000))
            idle.append(s)

    def load(what):
        while not stop.is_set():
            try:
                codes.append(server.ask("POST", "/classify?timeout_ms=1000", what)[0])
            except OSError:
                codes.append(0)

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], sum(status_kib(p, "VmRSS") for p in family(server.process.pid)))
            time.sleep(0.05)
    threads = [threading.Thread(target=load, args=(bomb if i % 4 == 0 else photo,)) for i in range(24)]
    threads += [threading.Thread(target=watch), threading.Thread(target=idlers)]
    for thread in threads:
        thread.start()
    time.sleep(15)
    stop.set()
    for thread in threads:
        thread.join()
    for s in idle:
        s.close()
    alive = server.process.poll() is None and pids <= set(family(server.process.pid))
    code, _ = server.ask("POST", "/classify", photo)
    row(24, "2000 idle, 20 half uploads, bombs, 24 clients: under the ceiling", f"{peak[0] / 1024:.0f} MiB at most of "
        f"{ceiling / MIB:.0f} (told at start), {len(codes)} answers", peak[0] * 1024 <= ceiling)
    killed = "not limited: no memory cgroup here"
    if limited:
        with open(f"{limit}/memory.oom_control") as f:
            killed = re.search(r"oom_kill (\d+)", f.read()).group(1) + " killed under that limit"
    row(24, "nobody is killed, everything answered, serving afterwards", f"{killed}; {code}",
        alive and code == 200 and killed[0] in "0n" and 0 not in codes)
    server.stop()
    if limited:
        os.rmdir(limit)
