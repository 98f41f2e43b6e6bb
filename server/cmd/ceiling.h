/* What the daemon may take at most, computed before it happens.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_CEILING_H
#define RESNETD_SERVER_CMD_CEILING_H

#include <stddef.h>

struct config;
struct registry;

/* Bytes. Everything that grows has a limit in the settings; their sum is the ceiling. */
struct ceiling {
    size_t models;      /* weights and arenas of those that are loaded; twice during a reload */
    size_t images;      /* tensors and scores of queued ones and of a batch */
    size_t decoding;    /* all workers at the limit of one image */
    size_t uploads;     /* bodies, and what JSON's base64 becomes */
    size_t connections; /* all of them open */
    size_t cache;
    size_t pictures; /* of those who want to see something: a few at a time */
    size_t base;     /* program, libraries, stacks, logs, metrics */
};

struct ceiling ceiling_of(const struct config *config, int n_threads, int n_decoders,
                          const struct registry *registry);
size_t ceiling_total(const struct ceiling *ceiling);

#endif
