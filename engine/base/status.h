/* The statuses of the engine and their one-line texts, from one X-macro, and the error sentence.
 *
 * Part of the public boundary: engine.h re-exports it, hence the rn_ prefix. A function that can
 * fail returns enum rn_status, leaves its results untouched on failure and, when `err` is not
 * NULL, writes one finished sentence there that names the thing. Pure, any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_BASE_STATUS_H
#define RESNETD_ENGINE_BASE_STATUS_H

#include <stddef.h>
#include <stdint.h>

#define RN_STATUSES(X)                                                                             \
    X(OK, "ok")                                                                                    \
    X(NO_MEMORY, "out of memory")                                                                  \
    X(IO, "a file could not be read or written")                                                   \
    X(NO_THREADS, "a thread could not be started")                                                 \
    X(BAD_ARGUMENT, "an argument is out of range")                                                 \
    X(BAD_MODEL, "the model file is damaged")                                                      \
    X(UNSUPPORTED_MODEL, "the model is not a ResNet that this engine knows")                       \
    X(UNSUPPORTED_FORMAT, "the image format is not supported")                                     \
    X(IMAGE_CORRUPT, "the image is damaged")                                                       \
    X(IMAGE_TRUNCATED, "the image ends too early")                                                 \
    X(IMAGE_TOO_MANY_BYTES, "the image file is too large")                                         \
    X(IMAGE_SIDE_TOO_LONG, "a side of the image is too long")                                      \
    X(IMAGE_TOO_MANY_PIXELS, "the image has too many pixels")                                      \
    X(IMAGE_TOO_MANY_SCANS, "the JPEG has too many scans")                                         \
    X(IMAGE_TOO_MUCH_MEMORY, "decoding the image would take too much memory")                      \
    X(IMAGE_TOO_MUCH_TIME, "decoding the image takes too much time")

enum rn_status {
#define X(name, text) RN_##name,
    RN_STATUSES(X)
#undef X
        RN_N_STATUSES
};

/* One sentence without a final full stop, fit to show to a user. */
struct rn_error {
    char text[256];
    /* Of RN_IMAGE_SIDE_TOO_LONG and RN_IMAGE_TOO_MANY_PIXELS: the image's pixels as stored, and
     * the limit that they are over. */
    uint32_t width, height;
    uint64_t limit;
};

/* "IMAGE_CORRUPT" and "the image is damaged" for a status; never NULL. */
const char *rn_status_name(enum rn_status status);
const char *rn_status_text(enum rn_status status);

/* Writes the sentence (cut to fit; err may be NULL) and returns `status`, so that a failing
 * function can end in `return rn_fail(err, RN_IO, "%s: %s", path, strerror(errno));`. */
__attribute__((format(printf, 3, 4))) enum rn_status
rn_fail(struct rn_error *err, enum rn_status status, const char *format, ...);

/* *out = a * b; RN_NO_MEMORY where it does not fit a size_t. */
__attribute__((warn_unused_result)) static inline enum rn_status size_mul(size_t a, size_t b,
                                                                          size_t *out)
{
    return __builtin_mul_overflow(a, b, out) ? RN_NO_MEMORY : RN_OK;
}

#endif
