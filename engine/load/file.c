/* Reading a whole model file into memory. Blocking reads; no state.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/load/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/huge.h"

#define PIECE_BYTES ((size_t)1 << 20)

static enum rn_status read_all(int fd, const char *path, void (*rest)(void), uint8_t *bytes,
                               size_t n, struct rn_error *err)
{
    for (size_t have = 0; have < n;) {
        const size_t left = n - have;
        ssize_t got = read(fd, bytes + have, left < PIECE_BYTES ? left : PIECE_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rn_fail(err, RN_IO, "%.150s: %s", path, strerror(errno));
        if (got == 0)
            return rn_fail(err, RN_IO, "%.150s: it became shorter while it was read", path);
        have += (size_t)got;
        if (rest)
            rest();
    }
    return RN_OK;
}

enum rn_status file_open(const char *path, int *fd, size_t *n, struct rn_error *err)
{
    struct stat st;
    /* O_NONBLOCK: opening a FIFO must not wait for a writer; it does nothing to a regular file. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum rn_status status = RN_OK;
    if (*fd < 0 || fstat(*fd, &st) != 0)
        status = rn_fail(err, RN_IO, "%.150s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status = rn_fail(err, RN_IO, "%.150s: not a regular file", path);
    else
        *n = (size_t)st.st_size;
    if (status != RN_OK && *fd >= 0)
        (void)close(*fd);
    return status;
}

enum rn_status file_read(const char *path, void (*rest)(void), uint8_t **out, size_t *n,
                         struct rn_error *err)
{
    int fd;
    size_t size;
    uint8_t *bytes = NULL;
    enum rn_status status = file_open(path, &fd, &size, err);
    if (status != RN_OK)
        return status;
    if (size > FILE_MAX_BYTES)
        status = rn_fail(err, RN_IO, "%.150s: %zu bytes are too large for a model", path, size);
    else if (!(bytes = huge_alloc(size + 1)))
        status = rn_fail(err, RN_NO_MEMORY, "%.150s: out of memory for %zu bytes", path, size);
    else
        status = read_all(fd, path, rest, bytes, size, err);
    (void)close(fd);
    if (status != RN_OK) {
        free(bytes);
        return status;
    }
    *out = bytes;
    *n = size;
    return RN_OK;
}
