/* Does the event loop have something to do, and no core to do it on? Asked by the engine, which
 * then gives way: a loop that answers within a millisecond costs batches next to nothing, while a
 * scheduler would let it wait for the rest of a time slice.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_WAITING_H
#define RESNETD_SERVER_WAITING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

struct waiting {
    uv_prepare_t before; /* the loop polls */
    uv_check_t after;
    int fd;            /* the loop's epoll */
    atomic_bool polls; /* it sleeps, or has been woken and does not run yet */
};

/* On the loop's thread; the handles do not keep the loop alive. */
void waiting_start(struct waiting *waiting, uv_loop_t *loop);
/* Any thread; the context is the struct waiting. */
bool waiting_loop(void *waiting);

#endif
