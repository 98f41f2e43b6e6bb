/* The sizes, and one empty task to have the threads started.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/pool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <uv.h>

#include "config/config.h"
#include "engine/engine.h"
#include "server/cmd/cmd.h"

struct pool pool_size(const struct config *config)
{
    const int cores = rn_threads_available();
    const int n_threads = config->threads > 0 ? config->threads : cores;
    return (struct pool){
        .cores = cores,
        .n_threads = n_threads,
        .n_decoders = config->decode_workers > 0 ? config->decode_workers : n_threads,
    };
}

static _Noreturn void give_up(int number)
{
    static const char sentence[] =
        "resnetd: no memory, descriptors or threads to start the event loop and its workers\n";
    (void)number;
    (void)!write(STDERR_FILENO, sentence, sizeof sentence - 1);
    _exit(CMD_FAILED);
}

static void do_nothing(uv_work_t *work)
{
    (void)work;
}

static void nothing_done(uv_work_t *work, int status)
{
    (void)work;
    (void)status;
}

void pool_start(const struct pool *pool, struct uv_loop_s *loop)
{
    char text[16];
    uv_work_t work;
    (void)snprintf(text, sizeof text, "%d", pool->n_decoders + 2);
    (void)setenv("UV_THREADPOOL_SIZE", text, 1);
    (void)signal(SIGABRT, give_up);
    if (uv_loop_init(loop) != 0)
        give_up(0);
    (void)uv_queue_work(loop, &work, do_nothing, nothing_done);
    (void)signal(SIGABRT, SIG_DFL);
    (void)uv_run(loop, UV_RUN_DEFAULT); /* nothing else is in the loop yet */
}
