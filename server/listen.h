/* "HOST:PORT", ":PORT", "[::1]:PORT", "unix:/path" or "fd:3" to a listening socket.
 *
 * Any thread. fd:3 is a descriptor that this process was started with; it is made non-blocking and
 * is not inherited any further.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_LISTEN_H
#define RESNETD_SERVER_LISTEN_H

#include "engine/engine.h"

struct listener {
    int fd;
    char address[160];   /* "http://127.0.0.1:8080" with the real port, or "unix:/path" */
    char unix_path[108]; /* to be unlinked, "" otherwise */
    bool passed;         /* whoever has passed it goes on using it */
};

/* Binds and listens; `scheme` is for the address. RN_BAD_ARGUMENT, RN_IO: the message names what
 * was to be listened on. */
enum rn_status listen_open(const char *listen, const char *scheme, struct listener *out,
                           struct rn_error *err) __attribute__((warn_unused_result));
/* A number from 0 to 65535. */
bool listen_is_port(const char *text);
/* Whether `listen` is an address that could be listened on, were it free. Fails like listen_open.
 */
enum rn_status listen_check(const char *listen, struct rn_error *err)
    __attribute__((warn_unused_result));
/* From now on nobody new is let in, so that the backlog can be emptied before the socket is closed,
 * which would reset who came meanwhile. Not for a passed socket, which others go on using. */
void listen_shut(const struct listener *listener);
void listen_close(struct listener *listener);

#endif
