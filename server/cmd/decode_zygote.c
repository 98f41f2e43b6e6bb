/* `resnetd decode-zygote`: not for people; serve starts it, see server/sandbox.h.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/cmd/cmd.h"
#include "server/sandbox.h"

int cmd_decode_zygote(int argc, char **argv, char **envp)
{
    int type = 0;
    (void)argc;
    (void)argv;
    (void)envp;
    if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type}) != 0 ||
        type != SOCK_SEQPACKET) {
        (void)fprintf(stderr, "resnetd: decode-zygote is started by serve, not by hand\n");
        return CMD_USAGE;
    }
    return sandbox_zygote();
}
