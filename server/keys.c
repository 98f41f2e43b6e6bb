/* A file of digests, read once; a key is hashed and compared with every one of them.
 *
 * SPDX-License-Identifier: MIT */
#include "server/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/memops.h>
#include <nettle/sha2.h>

#define MAX_KEYS 4096
#define MAX_LINE 256
#define HEX_DIGITS (2 * SHA256_DIGEST_SIZE)

struct keys {
    uint8_t (*digests)[SHA256_DIGEST_SIZE];
    size_t n;
};

static bool parse_digest(const char *hex, uint8_t digest[SHA256_DIGEST_SIZE])
{
    if (strlen(hex) != HEX_DIGITS || strspn(hex, "0123456789abcdefABCDEF") != HEX_DIGITS)
        return false;
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) {
        const char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        digest[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    return true;
}

static enum rn_status add(struct keys *keys, const uint8_t digest[SHA256_DIGEST_SIZE])
{
    if (keys->n == MAX_KEYS)
        return RN_BAD_ARGUMENT;
    void *digests = realloc(keys->digests, (keys->n + 1) * sizeof *keys->digests);
    if (!digests)
        return RN_NO_MEMORY;
    keys->digests = digests;
    memcpy(keys->digests[keys->n++], digest, SHA256_DIGEST_SIZE);
    return RN_OK;
}

static enum rn_status read_line(struct keys *keys, char *line, const char *path, int number,
                                struct rn_error *err)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    char *rest = NULL;
    const char *name = strtok_r(line, " \t\r\n", &rest);
    if (!name || name[0] == '#')
        return RN_OK;
    const char *hex = strtok_r(NULL, " \t\r\n", &rest);
    if (!hex || strtok_r(NULL, " \t\r\n", &rest) || !parse_digest(hex, digest))
        return rn_fail(
            err, RN_BAD_ARGUMENT,
            "%.150s, line %d: expected a name and the SHA-256 of its key as %d hex digits", path,
            number, HEX_DIGITS);
    const enum rn_status status = add(keys, digest);
    if (status == RN_NO_MEMORY)
        return rn_fail(err, status, "out of memory for API keys");
    if (status != RN_OK)
        return rn_fail(err, status, "%.150s has more than %d keys", path, MAX_KEYS);
    return RN_OK;
}

static enum rn_status read_lines(struct keys *keys, FILE *f, const char *path, struct rn_error *err)
{
    char line[MAX_LINE];
    for (int number = 1; fgets(line, sizeof line, f); number++) {
        if (!strchr(line, '\n') && strlen(line) == sizeof line - 1)
            return rn_fail(err, RN_BAD_ARGUMENT, "%.150s, line %d: longer than %d bytes", path,
                           number, MAX_LINE - 2);
        const enum rn_status status = read_line(keys, line, path, number, err);
        if (status != RN_OK)
            return status;
    }
    if (ferror(f))
        return rn_fail(err, RN_IO, "%.150s could not be read: %s", path, strerror(errno));
    if (keys->n == 0)
        return rn_fail(err, RN_BAD_ARGUMENT, "%.150s has no key", path);
    return RN_OK;
}

enum rn_status keys_open(const char *path, struct keys **out, struct rn_error *err)
{
    struct keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for API keys");
    FILE *f = fopen(path, "re");
    enum rn_status status = RN_OK;
    if (f) {
        status = read_lines(keys, f, path, err);
        (void)fclose(f);
    } else {
        status = rn_fail(err, RN_IO, "%.150s could not be opened: %s", path, strerror(errno));
    }
    if (status == RN_OK)
        *out = keys;
    else
        keys_free(keys);
    return status;
}

void keys_free(struct keys *keys)
{
    if (!keys)
        return;
    free(keys->digests);
    free(keys);
}

bool keys_have(const struct keys *keys, const char *given)
{
    struct sha256_ctx sha;
    uint8_t digest[SHA256_DIGEST_SIZE];
    int n_equal = 0;
    sha256_init(&sha);
    sha256_update(&sha, strlen(given), (const uint8_t *)given);
    sha256_digest(&sha, sizeof digest, digest);
    for (size_t i = 0; i < keys->n; i++)
        n_equal += memeql_sec(keys->digests[i], digest, sizeof digest);
    return n_equal > 0;
}
