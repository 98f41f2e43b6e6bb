/* multipart/form-data (RFC 7578, RFC 2046) out of a body that is whole in memory.
 *
 * Pure; any thread; allocates nothing: a part's bytes are borrowed from the body, its names are
 * copied into the part. Knows no parameters and no images.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_MULTIPART_H
#define RESNETD_SERVER_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/status.h"

#define MULTIPART_MAX_HEADER 8192 /* bytes of one part's header */

struct multipart {
    const uint8_t *at, *end;    /* what is left of the body */
    char delimiter[4 + 70 + 1]; /* CR LF - - boundary, NUL */
    size_t n_delimiter;
    bool closed; /* the last boundary was seen */
};

struct multipart_part {
    char name[64];      /* of the form's field */
    char filename[256]; /* cut to fit at a character's end */
    char type[64];      /* Content-Type as written, "" without */
    bool is_file;       /* there is a filename, be it empty, or the type says image */
    const uint8_t *bytes;
    size_t n_bytes;
};

/* Starts on a body by its Content-Type, whose boundary is told apart by this. RN_BAD_ARGUMENT with
 * a sentence, here and below. */
enum rn_status multipart_init(struct multipart *multipart, const char *content_type,
                              const uint8_t *body, size_t n, struct rn_error *err)
    __attribute__((warn_unused_result));

/* The next part, or *more = false after the last boundary. */
enum rn_status multipart_next(struct multipart *multipart, struct multipart_part *part, bool *more,
                              struct rn_error *err) __attribute__((warn_unused_result));

#endif
