/* Names a file's format from its first bytes. The list is longer than what can be decoded, so that
 * a refusal can say what it was given.
 *
 * Pure, any thread.
 *
 * SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "engine/engine.h"
#include "engine/image/scan.h"

struct magic {
    const char *name;
    size_t at, n;
    const char *bytes;
};

#define MAGIC(name, at, bytes)                                                                     \
    {                                                                                              \
        name, at, sizeof bytes - 1, bytes                                                          \
    }

static const struct magic magics[] = {
    MAGIC("jpeg", 0, "\xff\xd8\xff"),
    MAGIC("png", 0, "\x89PNG\r\n\x1a\n"),
    MAGIC("gif", 0, "GIF87a"),
    MAGIC("gif", 0, "GIF89a"),
    MAGIC("webp", 8, "WEBPVP8"),
    MAGIC("jxl", 0, "\xff\x0a"),
    MAGIC("jxl", 0, "\0\0\0\x0cJXL \r\n\x87\n"),
    MAGIC("jpeg2000", 0, "\0\0\0\x0cjP  \r\n\x87\n"),
    MAGIC("jpeg2000", 0, "\xff\x4f\xff\x51"),
    MAGIC("bigtiff", 0, "II+\0"),
    MAGIC("bigtiff", 0, "MM\0+"),
    MAGIC("tiff", 0, "II*\0"),
    MAGIC("tiff", 0, "MM\0*"),
    MAGIC("pdf", 0, "%PDF-"),
    MAGIC("postscript", 0, "%!PS"),
    MAGIC("psd", 0, "8BPS"),
    MAGIC("ico", 0, "\0\0\x01\0"),
    MAGIC("tga", 0, "\0\0\x02\0\0\0\0\0"),
    MAGIC("cur", 0, "\0\0\x02\0"),
    MAGIC("icns", 0, "icns"),
    MAGIC("exr", 0, "\x76\x2f\x31\x01"),
    MAGIC("hdr", 0, "#?RADIANCE"),
    MAGIC("qoi", 0, "qoif"),
    MAGIC("dds", 0, "DDS "),
    MAGIC("farbfeld", 0, "farbfeld"),
    MAGIC("mng", 0, "\x8aMNG\r\n\x1a\n"),
    MAGIC("jng", 0, "\x8bJNG\r\n\x1a\n"),
    MAGIC("bpg", 0, "BPG\xfb"),
    MAGIC("flif", 0, "FLIF"),
    MAGIC("avi", 8, "AVI "),
    MAGIC("wav", 8, "WAVE"),
    MAGIC("matroska", 0, "\x1a\x45\xdf\xa3"),
    MAGIC("zip", 0, "PK\x03\x04"),
    MAGIC("gzip", 0, "\x1f\x8b\x08"),
    MAGIC("xz", 0, "\3757zXZ\0"),
    MAGIC("zstd", 0, "\x28\xb5\x2f\xfd"),
    MAGIC("elf", 0, "\177ELF"),
};

static bool has(const uint8_t *bytes, size_t n, size_t at, const char *what, size_t n_what)
{
    return n >= at + n_what && memcmp(bytes + at, what, n_what) == 0;
}

/* The ISO base media files (MP4, HEIF, …) tell themselves apart by brands: the major one at byte 8
 * and, for the generic mif1 and msf1, the compatible ones from byte 16 on. */
static const char *sniff_brands(const uint8_t *bytes, size_t n)
{
    static const struct {
        const char brand[5];
        const char *name;
    } brands[] = {
        {"avif", "avif"}, {"avis", "avif"}, {"heic", "heic"}, {"heix", "heic"}, {"heim", "heic"},
        {"heis", "heic"}, {"hevc", "heic"}, {"hevx", "heic"}, {"crx ", "cr3"},  {"qt  ", "mov"},
    };
    if (n < 12 || memcmp(bytes + 4, "ftyp", 4) != 0)
        return NULL;
    bool generic = has(bytes, n, 8, "mif1", 4) || has(bytes, n, 8, "msf1", 4);
    size_t end = generic ? scan_be32(bytes) : 12;
    for (size_t at = 8; at + 4 <= end && at + 4 <= n; at += 4)
        for (size_t i = 0; i < sizeof brands / sizeof *brands; i++)
            if (memcmp(bytes + at, brands[i].brand, 4) == 0)
                return brands[i].name;
    return generic ? "heif" : "mp4";
}

/* A bitmap's magic is only two letters; what follows is its size and four zero bytes. */
static bool is_bmp(const uint8_t *bytes, size_t n)
{
    return n >= 14 && memcmp(bytes, "BM", 2) == 0 && scan_be32(bytes + 6) == 0;
}

/* P1 … P7 and white space. */
static bool is_pnm(const uint8_t *bytes, size_t n)
{
    return n >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '7' &&
           memchr(" \t\r\n", bytes[2], 4);
}

/* Markup starts with '<' after an optional byte order mark and white space; which one it is, an
 * element within the first kilobyte tells. */
static const char *sniff_markup(const uint8_t *bytes, size_t n)
{
    n = n < 1024 ? n : 1024;
    size_t at = has(bytes, n, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < n && memchr(" \t\r\n", bytes[at], 4))
        at++;
    if (at == n || bytes[at] != '<')
        return NULL;
    for (; at < n; at++) {
        const char *p = (const char *)bytes + at;
        if (n - at >= 4 && strncasecmp(p, "<svg", 4) == 0)
            return "svg";
        if (n - at >= 5 && strncasecmp(p, "<html", 5) == 0)
            return "html";
    }
    return has(bytes, n, 0, "<?xml", 5) ? "xml" : NULL;
}

const char *rn_image_sniff(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (has(bytes, n, magics[i].at, magics[i].bytes, magics[i].n))
            return magics[i].name;
    const char *name = sniff_brands(bytes, n);
    if (!name)
        name = sniff_markup(bytes, n);
    if (!name && is_bmp(bytes, n))
        name = "bmp";
    if (!name && is_pnm(bytes, n))
        name = "pnm";
    return name ? name : "unknown";
}
