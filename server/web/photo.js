/* From a file that somebody chose to one that the server reads. JPEG and PNG go as they are; what the
 * browser can show and the server cannot read (WebP, AVIF, HEIC in Safari, GIF, BMP, SVG) is painted
 * on a canvas and sent as PNG or JPEG. The first bytes tell the kind, not the name.
 *
 * SPDX-License-Identifier: MIT */

const PNG_PIXELS = 1 << 20; /* a converted image with more becomes a JPEG */
const JPEG_QUALITY = 0.95;
const MAX_SIDE = 4096; /* of a converted image */
export const SMALL_SIDE = 1280; /* of a smaller copy */

const ascii = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

const kinds = [
    ["JPEG", (b) => b[0] === 0xff && b[1] === 0xd8 && b[2] === 0xff],
    ["PNG", (b) => ascii(b, 0, 8) === "\x89PNG\r\n\x1a\n"],
    ["WebP", (b) => ascii(b, 0, 4) === "RIFF" && ascii(b, 8, 12) === "WEBP"],
    ["AVIF", (b) => ascii(b, 4, 8) === "ftyp" && /avi[fs]/.test(ascii(b, 8, 32))],
    ["HEIC", (b) => ascii(b, 4, 8) === "ftyp" && /hei[cfmsx]|he[vx]c|mif1/.test(ascii(b, 8, 32))],
    ["GIF", (b) => ascii(b, 0, 4) === "GIF8"],
    ["BMP", (b) => ascii(b, 0, 2) === "BM"],
    ["TIFF", (b) => /^(II\*\0|MM\0\*)/.test(ascii(b, 0, 4))],
    ["SVG", (b) => /^\s*<(\?xml|svg|!--)/.test(ascii(b, 0, 32))],
];

/* "JPEG", "WebP", …, "" when it is none of them. */
export async function kindOf(blob) {
    const bytes = new Uint8Array(await blob.slice(0, 32).arrayBuffer());
    return kinds.find(([, is]) => is(bytes))?.[0] ?? "";
}

/* What the browser makes of it, upright; null when it cannot. */
async function decode(blob) {
    const url = URL.createObjectURL(blob);
    const image = new Image();
    try {
        image.src = url;
        await image.decode();
        return image.naturalWidth > 0 ? image : null;
    } catch {
        return null;
    } finally {
        URL.revokeObjectURL(url);
    }
}

const encode = (canvas, type) => new Promise((done) => canvas.toBlob(done, type, JPEG_QUALITY));

/* A PNG or JPEG with sides of at most maxSide; null when the browser cannot read the blob. */
export async function repaint(blob, maxSide = MAX_SIDE) {
    const image = await decode(blob);
    if (!image) return null;
    const scale = Math.min(1, maxSide / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff"; /* behind what is transparent */
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const pixels = canvas.width * canvas.height;
    return encode(canvas, pixels > PNG_PIXELS ? "image/jpeg" : "image/png");
}

const ending = (blob) => (blob.type === "image/png" ? "png" : "jpg");

/* {blob, name, note}: what to send, what it would be called, and what was done to it. A file that
 * nobody here can read goes as it is: the server then says what it is. */
export async function prepare(file, makeSmaller) {
    const kind = await kindOf(file);
    if (!makeSmaller && (kind === "JPEG" || kind === "PNG" || file.size === 0))
        return { blob: file, name: file.name, note: "" };
    const blob = await repaint(file, makeSmaller ? SMALL_SIDE : MAX_SIDE);
    if (!blob) return { blob: file, name: file.name, note: "" };
    const to = blob.type === "image/png" ? "PNG" : "JPEG";
    return {
        blob,
        name: file.name.replace(/\.[^.]*$/, "") + "." + ending(blob),
        note: makeSmaller ? `A smaller copy, made in this browser (${to})`
            : `Converted from ${kind || "its format"} to ${to} in this browser`,
    };
}
