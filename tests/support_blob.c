/* See the header.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

void blob_done(struct blob *blob)
{
    free(blob->bytes);
    *blob = (struct blob){0};
}

void blob_add(struct blob *blob, const void *bytes, size_t n)
{
    if (n == 0)
        return;
    uint8_t *larger = realloc(blob->bytes, blob->n + n);
    cr_assert_not_null(larger);
    memcpy(larger + blob->n, bytes, n);
    *blob = (struct blob){larger, blob->n + n};
}

struct blob blob_golden(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "tests/golden/images/%s", name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s is missing; tests run in the repository's root", path);
    struct blob blob = {0};
    uint8_t piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        blob_add(&blob, piece, n);
    (void)fclose(file);
    return blob;
}

void blob_add_be16(struct blob *blob, unsigned value)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    blob_add(blob, bytes, 2);
}

void blob_add_be32(struct blob *blob, uint32_t value)
{
    blob_add_be16(blob, value >> 16);
    blob_add_be16(blob, value & 0xffff);
}

uint32_t blob_crc(const void *bytes, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (const uint8_t *p = bytes, *end = p + n; p < end; p++) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return ~crc;
}

void blob_add_png_chunk(struct blob *blob, const char *name, const void *data, size_t n)
{
    blob_add_be32(blob, (uint32_t)n);
    size_t start = blob->n;
    blob_add(blob, name, 4);
    blob_add(blob, data, n);
    blob_add_be32(blob, blob_crc(blob->bytes + start, blob->n - start));
}

void blob_add_png_header(struct blob *blob, uint32_t width, uint32_t height, int depth, int colour)
{
    blob_add(blob, "\x89PNG\r\n\x1a\n", 8);
    struct blob header = {0};
    blob_add_be32(&header, width);
    blob_add_be32(&header, height);
    uint8_t rest[5] = {(uint8_t)depth, (uint8_t)colour, 0, 0, 0};
    blob_add(&header, rest, sizeof rest);
    blob_add_png_chunk(blob, "IHDR", header.bytes, header.n);
    blob_done(&header);
}

void blob_add_segment(struct blob *blob, int marker, const void *data, size_t n)
{
    blob_add_be16(blob, 0xff00u | (unsigned)marker);
    blob_add_be16(blob, (unsigned)n + 2);
    blob_add(blob, data, n);
}

void blob_add_grey_frame(struct blob *blob, int marker, unsigned width, unsigned height)
{
    uint8_t frame[9] = {8, 0, 0, 0, 0, 1, 1, 0x11, 0};
    frame[1] = (uint8_t)(height >> 8);
    frame[2] = (uint8_t)height;
    frame[3] = (uint8_t)(width >> 8);
    frame[4] = (uint8_t)width;
    blob_add_segment(blob, marker, frame, sizeof frame);
}

void blob_add_grey_tables(struct blob *blob)
{
    uint8_t quantization[65] = {0};
    memset(quantization + 1, 1, 64);
    blob_add_segment(blob, 0xdb, quantization, sizeof quantization);
    uint8_t huffman[2 * 18] = {[0] = 0x00, [1] = 1, [18] = 0x10, [19] = 1};
    blob_add_segment(blob, 0xc4, huffman, sizeof huffman);
}

void blob_add_grey_scan(struct blob *blob, int first, int last, const void *data, size_t n)
{
    uint8_t scan[6] = {1, 1, 0x00, (uint8_t)first, (uint8_t)last, 0};
    blob_add_segment(blob, 0xda, scan, sizeof scan);
    blob_add(blob, data, n);
}
