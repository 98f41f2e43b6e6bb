/* Loop thread. A process belongs to whom has started it, which does not ask how it ended, so that
 * it does no harm to be first here.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/children.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/sandbox.h"

/* Process 1 of a container inherits whatever loses its parent, and has to wait for it. */
static void reap_orphans(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static void on_death(uv_signal_t *handle, int number)
{
    struct children *children = handle->data;
    (void)number;
    if (children->sandbox)
        sandbox_tend(children->sandbox);
    if (getpid() == 1)
        reap_orphans();
}

void children_start(struct children *children, uv_loop_t *loop, struct sandbox *sandbox)
{
    children->sandbox = sandbox;
    children->signal.data = children;
    (void)uv_signal_init(loop, &children->signal);
    (void)uv_signal_start(&children->signal, on_death, SIGCHLD);
}
