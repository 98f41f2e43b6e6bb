/* Whether the loop waits for a core: only while it polls, and only with an event to handle.
 *
 * SPDX-License-Identifier: MIT */
#include "server/waiting.h"

#include <criterion/criterion.h>
#include <unistd.h>

struct world {
    uv_loop_t loop;
    struct waiting waiting;
    uv_poll_t poll;
    int pipe[2];
    bool before_read, after_read;
};

static void readable(uv_poll_t *poll, int status, int events)
{
    struct world *w = poll->data;
    char byte;
    (void)status;
    (void)events;
    w->before_read = waiting_loop(&w->waiting); /* where the loop stands as if not run yet */
    cr_assert_eq(read(w->pipe[0], &byte, 1), 1);
    w->after_read = waiting_loop(&w->waiting);
}

Test(waiting, is_polling_with_an_event_at_hand)
{
    struct world w = {0};
    cr_assert_eq(uv_loop_init(&w.loop), 0);
    cr_assert_eq(pipe(w.pipe), 0);
    waiting_start(&w.waiting, &w.loop);
    cr_assert_eq(uv_poll_init(&w.loop, &w.poll, w.pipe[0]), 0);
    w.poll.data = &w;
    cr_assert_eq(uv_poll_start(&w.poll, UV_READABLE, readable), 0);
    (void)uv_run(&w.loop, UV_RUN_NOWAIT);
    cr_assert_eq(write(w.pipe[1], "x", 1), 1);
    cr_assert_not(waiting_loop(&w.waiting), "it runs");
    (void)uv_run(&w.loop, UV_RUN_NOWAIT);
    cr_assert(w.before_read);
    cr_assert_not(w.after_read, "nothing is left to do");
    uv_close((uv_handle_t *)&w.poll, NULL);
    uv_close((uv_handle_t *)&w.waiting.before, NULL);
    uv_close((uv_handle_t *)&w.waiting.after, NULL);
    (void)uv_run(&w.loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w.loop), 0);
    (void)close(w.pipe[0]);
    (void)close(w.pipe[1]);
}
