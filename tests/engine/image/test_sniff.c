/* Magic bytes and their names.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "engine/engine.h"

#define HEAD(name, bytes)                                                                          \
    {                                                                                              \
        name, bytes, sizeof bytes - 1                                                              \
    }

static const struct {
    const char *name, *bytes;
    size_t n;
} heads[] = {
    HEAD("jpeg", "\xff\xd8\xff\xe0\0\x10JFIF"),
    HEAD("png", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    HEAD("gif", "GIF89a\1\0\1\0"),
    HEAD("webp", "RIFF\x24\0\0\0WEBPVP8 "),
    HEAD("bmp", "BM\x46\0\0\0\0\0\0\0\x36\0\0\0"),
    HEAD("tiff", "II*\0\x08\0\0\0"),
    HEAD("tiff", "MM\0*\0\0\0\x08"),
    HEAD("heic", "\0\0\0\030ftypheic\0\0\0\0mif1heic"),
    HEAD("heic", "\0\0\0\030ftypmif1\0\0\0\0mif1heic"),
    HEAD("avif", "\0\0\0\034ftypavif\0\0\0\0avifmif1"),
    HEAD("avif", "\0\0\0\034ftypmif1\0\0\0\0mif1avifmiaf"),
    HEAD("heif", "\0\0\0\024ftypmif1\0\0\0\0mif1heic"),
    HEAD("mp4", "\0\0\0\024ftypisom\0\0\0\0avif"),
    HEAD("jxl", "\xff\x0a\0\0"),
    HEAD("jxl", "\0\0\0\x0cJXL \r\n\x87\n"),
    HEAD("jpeg2000", "\0\0\0\x0cjP  \r\n\x87\n"),
    HEAD("pdf", "%PDF-1.7\n"),
    HEAD("svg", "<svg xmlns='http://www.w3.org/2000/svg'/>"),
    HEAD("svg", "\xef\xbb\xbf \n<?xml version='1.0'?>\n<!-- drawn -->\n<SVG/>"),
    HEAD("html", "<!DOCTYPE html>\n<html>"),
    HEAD("xml", "<?xml version='1.0'?><a/>"),
    HEAD("ico", "\0\0\1\0\1\0"),
    HEAD("cur", "\0\0\2\0\1\0\x20\x20"),
    HEAD("tga", "\0\0\2\0\0\0\0\0\0\0\0\0\x10"),
    HEAD("psd", "8BPS\0\1"),
    HEAD("pnm", "P6\n1 1\n255\n"),
    HEAD("zip", "PK\3\4"),
    HEAD("unknown", ""),
    HEAD("unknown", "hello"),
    HEAD("unknown", "\xff\xd8"),
    HEAD("unknown", "\x89PNG\r\n\x1a"),
    HEAD("unknown", "BM is not always a bitmap"),
    HEAD("unknown", "  \n\t "),
    HEAD("unknown", "<"),
};

Test(sniff, names_each_format)
{
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        cr_expect_str_eq(rn_image_sniff((const uint8_t *)heads[i].bytes, heads[i].n), heads[i].name,
                         "case %zu", i);
}

Test(sniff, reads_nothing_beyond_the_end)
{
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        for (size_t n = 0; n < heads[i].n; n++) {
            uint8_t *copy = malloc(n ? n : 1);
            cr_assert_not_null(copy);
            memcpy(copy, heads[i].bytes, n);
            cr_expect_not_null(rn_image_sniff(copy, n));
            free(copy);
        }
}
