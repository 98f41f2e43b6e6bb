/* One file by HTTPS: resumed where it was cut off, checked, and only then there.
 *
 * Blocking; one thread. It is written beside its place as NAME.part, with the server's ETag in
 * NAME.etag, and renamed when it is whole and its SHA-256 is the one that the hub told.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PULL_DOWNLOAD_H
#define RESNETD_SERVER_PULL_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/status.h"

struct download {
    const char *url;
    const char *path; /* where it is to be */
    const char *have; /* a file that may be the same already, NULL for none */
    uint64_t max_bytes;
    void (*progress)(void *context, uint64_t now, uint64_t total); /* NULL: silent */
    void *context;
};

enum download_end {
    DOWNLOAD_DONE,
    DOWNLOAD_SAME, /* `have` was it, and is linked to path */
    DOWNLOAD_ABSENT,
    DOWNLOAD_FAILED, /* err says why; what came is kept where it may be gone on with */
};

struct download_result {
    uint64_t bytes;
    bool verified;   /* the hub told a SHA-256 */
    char sha256[65]; /* of what is there */
};

enum download_end download_file(const struct download *download, struct download_result *result,
                                struct rn_error *err) __attribute__((warn_unused_result));

/* HTTPS, or HTTP to this machine itself. */
bool download_allows(const char *url);

#endif
