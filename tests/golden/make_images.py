#!/usr/bin/python3
"""Makes tests/golden/images/: small synthetic JPEG and PNG files and what Pillow and torchvision
make of them. Run from the repository's root with Debian's packages:

    apt install python3-pil python3-torchvision
    /usr/bin/python3 tests/golden/make_images.py

decode.txt   file, width, height, orientation, CRC-32 of the upright RGB pixels
crop.txt     file, resize, crop, filter, CRC-32 of the RGB pixels after Resize and CenterCrop
scaled.txt   file, resize, crop, filter, reduction, CRC-32 of the RGB pixels after a draft of at least
             four times the resize, then Resize and CenterCrop
tensor.txt   file, resize, crop, filter, CRC-32 of the float32 tensor after ToTensor and Normalize
*.rgb        the upright pixels of each JPEG, for decoders that may differ a little from Pillow's

Everything is synthetic and deterministic; the oracle is the installed Pillow.
SPDX-License-Identifier: MIT
"""
import io
import os
import struct
import zlib

import numpy
from PIL import Image, ImageDraw, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")
FILTERS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(n, seed):
    """n bytes of a linear congruential generator."""
    out = bytearray()
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        out.append(seed >> 16 & 255)
    return numpy.frombuffer(bytes(out), numpy.uint8)


def picture(width, height, seed=1):
    """Gradients, shapes with hard edges, a patch of noise."""
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float64)
    pixels = numpy.stack([255 * x / width, 255 * y / height,
                          127.5 + 127.5 * numpy.sin((x + 2 * y) / 5)], axis=2).astype(numpy.uint8)
    h, w = height // 3, width // 3
    pixels[h:2 * h, w:2 * w] = noise(h * w * 3, seed).reshape(h, w, 3)
    image = Image.fromarray(pixels, "RGB")
    draw = ImageDraw.Draw(image)
    draw.rectangle((1, 1, width // 4, height // 4), fill=(255, 0, 0))
    draw.ellipse((width // 2, height // 2, width - 2, height - 2), outline=(255, 255, 0), width=2)
    draw.line((0, height - 1, width - 1, 0), fill=(0, 0, 0))
    return image


def exif(orientation, order):
    """A TIFF structure with a Make tag in front of the orientation."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return (magic + struct.pack(order + "IH", 8, 2)
            + struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0")
            + struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
            + struct.pack(order + "I", 0))


def jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def with_adobe(data, transform):
    """Replaces JFIF's and Adobe's markers by an Adobe one with this colour transform."""
    at = 2
    while data[at + 1] in (0xE0, 0xEE):
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    return (data[:2] + b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0,
                                                        transform) + data[at:])


def jpegs():
    rgb = picture(53, 38)
    cmyk = Image.merge("CMYK", [*rgb.split(), rgb.convert("L")])
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"baseline-{name}.jpg", jpeg(rgb, quality=85, subsampling=sampling)
        yield f"progressive-{name}.jpg", jpeg(rgb, quality=70, subsampling=sampling,
                                              progressive=True)
    yield "grey.jpg", jpeg(rgb.convert("L"), quality=90)
    yield "grey-progressive.jpg", jpeg(rgb.convert("L"), quality=90, progressive=True)
    yield "cmyk.jpg", jpeg(cmyk, quality=90)
    yield "cmyk-progressive.jpg", jpeg(cmyk, quality=90, progressive=True)
    yield "ycck.jpg", with_adobe(jpeg(cmyk, quality=90), 2)
    yield "adobe-rgb.jpg", with_adobe(jpeg(rgb, quality=90, subsampling=0), 0)
    yield "one-pixel.jpg", jpeg(picture(8, 8).resize((1, 1)), quality=90)
    yield "coarse.jpg", jpeg(rgb, quality=5)
    for orientation in range(1, 9):
        data = b"Exif\0\0" + exif(orientation, "<>"[orientation % 2])
        yield f"orientation-{orientation}.jpg", jpeg(rgb, quality=60, exif=data)


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def filtered(rows, bpp):
    """PNG rows, using the five filters in turn."""
    out, above = bytearray(), bytes(len(rows[0]))
    for y, row in enumerate(rows):
        out.append(y % 5)
        for i, value in enumerate(row):
            left = row[i - bpp] if i >= bpp else 0
            corner = above[i - bpp] if i >= bpp else 0
            guess = (0, left, above[i], (left + above[i]) // 2,
                     paeth(left, above[i], corner))[y % 5]
            out.append((value - guess) & 255)
        above = row
    return bytes(out)


def pack(samples, depth):
    """One row of samples to bytes."""
    if depth == 16:
        return samples.astype(">u2").tobytes()
    if depth == 8:
        return samples.astype(numpy.uint8).tobytes()
    bits = "".join(format(s, f"0{depth}b") for s in samples.tolist())
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def png(samples, depth, colour, interlaced=False, before=b"", pieces=1):
    """A PNG from samples [height][width][channels]; `before` are chunks in front of the data."""
    height, width, channels = samples.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                  (1, 0, 2, 2), (0, 1, 1, 2)]
    data = b""
    for x, y, dx, dy in passes:
        part = samples[y::dy, x::dx]
        if part.size:
            rows = [pack(row.reshape(-1), depth) for row in part]
            data += filtered(rows, max(1, depth * channels // 8))
    data = zlib.compress(data, 9)
    step = -(-len(data) // pieces)
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0,
                                         interlaced))
            + before + b"".join(chunk(b"IDAT", data[i:i + step]) for i in range(0, len(data), step))
            + chunk(b"IEND"))


def pngs():
    width, height = 29, 23
    rgb = numpy.asarray(picture(width, height)).astype(numpy.uint32)
    alpha = noise(width * height, 7).reshape(height, width, 1).astype(numpy.uint32)
    grey = rgb.sum(axis=2, keepdims=True) // 3
    wide = lambda a: a * 256 + noise(a.size, 3).reshape(a.shape)
    colours = noise(768, 5).tobytes()
    for interlaced in (False, True):
        end = "-interlaced.png" if interlaced else ".png"
        for depth in (1, 2, 4, 8):
            yield f"grey{depth}{end}", png(grey >> (8 - depth), depth, 0, interlaced)
            yield f"palette{depth}{end}", png(grey >> (8 - depth), depth, 3, interlaced,
                                              chunk(b"PLTE", colours[:3 << depth]))
        yield "grey16" + end, png(wide(grey), 16, 0, interlaced)
        for depth, widen in ((8, lambda a: a), (16, wide)):
            yield f"rgb{depth}{end}", png(widen(rgb), depth, 2, interlaced)
            yield f"grey-alpha{depth}{end}", png(
                widen(numpy.concatenate([grey, alpha], axis=2)), depth, 4, interlaced)
            yield f"rgba{depth}{end}", png(
                widen(numpy.concatenate([rgb, alpha], axis=2)), depth, 6, interlaced)
    yield "palette-transparent.png", png(
        grey >> 4, 4, 3, False, chunk(b"PLTE", colours[:48]) + chunk(b"tRNS", bytes(range(16))))
    yield "palette-short.png", png(grey >> 4, 4, 3, False, chunk(b"PLTE", colours[:15]))
    yield "grey-transparent.png", png(grey, 8, 0, False, chunk(b"tRNS", b"\0\x80"))
    yield "rgb-transparent.png", png(rgb, 8, 2, True, chunk(b"tRNS", b"\0\xff\0\0\0\0"))
    yield "rgb-pieces.png", png(rgb, 8, 2, False, chunk(b"tEXt", b"Title\0pieces"), pieces=40)
    yield "one-pixel.png", png(rgb[:1, :1], 8, 2, True)
    for orientation in (3, 6, 7):
        yield f"orientation-{orientation}.png", png(
            rgb, 8, 2, False, chunk(b"eXIf", exif(orientation, "<>"[orientation % 2])))
    for name, size in (("wide", (97, 40)), ("tall", (21, 75)), ("square", (64, 64)),
                       ("thin", (150, 3)), ("odd", (61, 83))):
        yield f"crop-{name}.png", png(numpy.asarray(picture(*size)).astype(numpy.uint32), 8, 2)


def upright(data):
    """What the daemon promises: exif_transpose and convert("RGB"); 16-bit grey by its high byte,
    which Pillow would clip."""
    image = Image.open(io.BytesIO(data))
    if image.mode == "I":
        return Image.fromarray((numpy.asarray(image) >> 8).astype(numpy.uint8)).convert("RGB")
    return ImageOps.exif_transpose(image).convert("RGB")


def crops(image):
    """(resize, crop) pairs up and down, odd rests, crops as large as the resize."""
    for resize, crop in ((8, 8), (32, 32), (33, 32), (40, 35), (64, 56), (75, 64), (150, 127)):
        for name, mode in FILTERS.items():
            pipeline = transforms.Compose([transforms.Resize(resize, mode),
                                           transforms.CenterCrop(crop)])
            yield resize, crop, name, pipeline(image)


def scaled(data):
    """What comes of a JPEG that may be decoded at 1/2, 1/4 or 1/8, as libjpeg's users do it: draft(),
    then resize() of the part that is picture (1/8 of 53 pixels are 6.6 of 7)."""
    full = Image.open(io.BytesIO(data))
    orientation = full.getexif().get(0x0112, 1)
    width, height = upright(data).size
    for resize in (1, 2, 3, 4, 6):
        for name, mode in FILTERS.items():
            image = Image.open(io.BytesIO(data))
            image.draft(None, (4 * resize, 4 * resize))
            reduction = -(-full.width // image.width)
            image = ImageOps.exif_transpose(image).convert("RGB")
            shorter = min(width, height)
            to = [resize if side == shorter else int(resize * side / shorter)
                  for side in (width, height)]
            x = image.width - width / reduction if orientation in (2, 3, 6, 7) else 0
            y = image.height - height / reduction if orientation in (3, 4, 7, 8) else 0
            box = (x, y, x + width / reduction, y + height / reduction)
            image = image.resize(to, getattr(Image.Resampling, mode.name), box=box)
            yield resize, resize, name, reduction, transforms.CenterCrop(resize)(image)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name in os.listdir(FOLDER):
        os.remove(os.path.join(FOLDER, name))
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    decode, crop_lines, scaled_lines, tensor_lines = [], [], [], []
    for name, data in [*jpegs(), *pngs()]:
        with open(os.path.join(FOLDER, name), "wb") as file:
            file.write(data)
        image = upright(data)
        raw = image.tobytes()
        orientation = Image.open(io.BytesIO(data)).getexif().get(0x0112, 1)
        decode.append(f"{name} {image.width} {image.height} {orientation} {zlib.crc32(raw):08x}")
        if name.endswith(".jpg"):
            with open(os.path.join(FOLDER, name[:-4] + ".rgb"), "wb") as file:
                file.write(raw)
            for resize, crop, mode, reduction, cut in scaled(data):
                scaled_lines.append(f"{name} {resize} {crop} {mode} {reduction} "
                                    f"{zlib.crc32(cut.tobytes()):08x}")
        if not name.startswith("crop-"):
            continue
        for resize, crop, mode, cut in crops(image):
            crop_lines.append(f"{name} {resize} {crop} {mode} {zlib.crc32(cut.tobytes()):08x}")
            if resize == 40:
                tensor = to_tensor(cut).numpy().astype("<f4").tobytes()
                tensor_lines.append(f"{name} {resize} {crop} {mode} {zlib.crc32(tensor):08x}")
    for name, lines in (("decode", decode), ("crop", crop_lines),
                        ("scaled", scaled_lines), ("tensor", tensor_lines)):
        with open(os.path.join(FOLDER, name + ".txt"), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")


main()
