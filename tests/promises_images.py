"""Rows about images: bombs, decoding beside other decoders, the memory of the worst together.

SPDX-License-Identifier: MIT
"""
import json
import struct
import time
import zlib

from promises_support import MIB, Server, cpu_seconds, image, row, status_kib

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
