/* API keys: who may classify, where a file of keys is set.
 *
 * The file has a line `NAME SHA256-HEX` per key, so that it gives none away: the digest is that of
 * the key's bytes, as `printf %s KEY | sha256sum` prints it. # starts a comment line. Keys are
 * taken to be long and random; that is what makes a plain digest enough.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_KEYS_H
#define RESNETD_SERVER_KEYS_H

#include <stdbool.h>

#include "engine/engine.h"

struct keys;

/* RN_IO, RN_BAD_ARGUMENT (the message names file and line), RN_NO_MEMORY. A file without a key is
 * an error: it would lock everybody out. */
RN_MUST_USE enum rn_status keys_open(const char *path, struct keys **out, struct rn_error *err);
void keys_free(struct keys *keys); /* NULL is fine */

/* Is `given` one of the keys? In a time that does not tell how near it came. Any thread. */
bool keys_have(const struct keys *keys, const char *given);

#endif
