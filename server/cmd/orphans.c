/* Decode helpers whose zygote was killed, and what was started beside the daemon in its container.
 *
 * Loop thread. The zygote is waited for by whom it belongs to, which does not ask how it ended, so
 * that it does no harm to be first here.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/orphans.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

void orphans_start(uv_signal_t *handle, uv_loop_t *loop)
{
    if (getpid() != 1)
        return;
    (void)uv_signal_init(loop, handle);
    (void)uv_signal_start(handle, reap, SIGCHLD);
}
