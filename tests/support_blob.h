/* Bytes of a file in the making: golden files, and JPEG and PNG files built piece by piece, good
 * and bad. Running out of memory or a missing file fails the test.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_BLOB_H
#define RESNETD_TESTS_SUPPORT_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct blob {
    uint8_t *bytes; /* of exactly n bytes, so that a sanitizer sees any read beyond */
    size_t n;
};

/* A file of tests/golden/images. */
struct blob blob_golden(const char *name);
void blob_done(struct blob *blob);

void blob_add(struct blob *blob, const void *bytes, size_t n);
void blob_add_be16(struct blob *blob, unsigned value);
void blob_add_be32(struct blob *blob, uint32_t value);

/* CRC-32 as in PNG and zlib. */
uint32_t blob_crc(const void *bytes, size_t n);

/* A PNG's signature and header, and a chunk with a right checksum. */
void blob_add_png_header(struct blob *blob, uint32_t width, uint32_t height, int depth, int colour);
void blob_add_png_chunk(struct blob *blob, const char *name, const void *data, size_t n);

/* A JPEG segment; a grey frame (marker 0xc0 or 0xc2); all tables that it needs, each Huffman table
 * having the one symbol 0 with code 0; a scan of coefficients first…last, and its data. */
void blob_add_segment(struct blob *blob, int marker, const void *data, size_t n);
void blob_add_grey_frame(struct blob *blob, int marker, unsigned width, unsigned height);
void blob_add_grey_tables(struct blob *blob);
void blob_add_grey_scan(struct blob *blob, int first, int last, const void *data, size_t n);

#endif
