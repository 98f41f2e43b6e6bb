/* How many threads do what, and libuv's pool started where its failure can be told.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_POOL_H
#define RESNETD_SERVER_CMD_POOL_H

struct config;
struct uv_loop_s;

struct pool {
    int cores;      /* that the process may use */
    int n_threads;  /* of the engine */
    int n_decoders; /* images decoded at the same time */
};

/* From the settings; where they say nothing, from the cores. */
struct pool pool_size(const struct config *config);

/* Initialises the loop and starts libuv's threads: a batch and one more task always find one beside
 * the decoders. Before anything else uses them. Where that is not possible the process ends with a
 * message, since the library would abort. */
void pool_start(const struct pool *pool, struct uv_loop_s *loop);

#endif
