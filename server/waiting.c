/* The loop marks when it polls; whether there is an event for it then, the kernel knows.
 *
 * SPDX-License-Identifier: MIT */
#include "server/waiting.h"

#include <poll.h>

static void before(uv_prepare_t *prepare)
{
    struct waiting *waiting = prepare->data;
    atomic_store_explicit(&waiting->polls, true, memory_order_relaxed);
}

static void after(uv_check_t *check)
{
    struct waiting *waiting = check->data;
    atomic_store_explicit(&waiting->polls, false, memory_order_relaxed);
}

void waiting_start(struct waiting *waiting, uv_loop_t *loop)
{
    waiting->fd = uv_backend_fd(loop);
    (void)uv_prepare_init(loop, &waiting->before);
    (void)uv_check_init(loop, &waiting->after);
    waiting->before.data = waiting->after.data = waiting;
    (void)uv_prepare_start(&waiting->before, before);
    (void)uv_check_start(&waiting->after, after);
    uv_unref((uv_handle_t *)&waiting->before);
    uv_unref((uv_handle_t *)&waiting->after);
}

bool waiting_loop(void *context)
{
    struct waiting *waiting = context;
    struct pollfd loop = {.fd = waiting->fd, .events = POLLIN};
    return atomic_load_explicit(&waiting->polls, memory_order_relaxed) && poll(&loop, 1, 0) > 0;
}
