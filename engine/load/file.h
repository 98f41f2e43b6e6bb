/* Reading a whole model file into memory. Files are read, never mapped: a map of a file that is
 * truncated while serving ends in SIGBUS.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_LOAD_FILE_H
#define RESNETD_ENGINE_LOAD_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/status.h"

#define FILE_MAX_BYTES ((size_t)8 << 30)

/* Opens a regular file of *n bytes for reading; a FIFO's writer is not waited for. RN_IO. */
enum rn_status file_open(const char *path, int *fd, size_t *n, struct rn_error *err)
    __attribute__((warn_unused_result));

/* *out is the regular file's *n bytes; the caller frees it. rest: called now and then, or NULL.
 * RN_IO (with the reason), RN_NO_MEMORY.
 */
enum rn_status file_read(const char *path, void (*rest)(void), uint8_t **out, size_t *n,
                         struct rn_error *err) __attribute__((warn_unused_result));

#endif
