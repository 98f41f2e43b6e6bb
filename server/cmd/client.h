/* One GET of a server on this machine: what `health` and `top` need of HTTP.
 *
 * Blocking, with a time limit for each step. A server that listens on every address is asked on the
 * loopback one.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_CLIENT_H
#define RESNETD_SERVER_CMD_CLIENT_H

#include "server/cmd/cmd.h"

struct client_answer {
    int status;
    char *body; /* NUL-terminated; free() it */
};

/* `listen` as the setting: HOST:PORT, :PORT, [::1]:PORT or unix:/path. What is wrong is complained
 * about: CMD_USAGE for the address, CMD_FAILED when there is no whole answer. */
enum cmd_exit client_get(const char *listen, const char *path, struct client_answer *out)
    __attribute__((warn_unused_result));

#endif
