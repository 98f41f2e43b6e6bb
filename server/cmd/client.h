/* What `health` and `top` share: their words, and one GET of a server on this machine.
 *
 * Blocking, with a time limit for each step. A server that listens on every address is asked on the
 * loopback one.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_CLIENT_H
#define RESNETD_SERVER_CMD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "server/cmd/cmd.h"

struct config;
struct flag;

struct client_answer {
    int status;
    char *body; /* NUL-terminated; free() it */
};

/* Reads the flags, of which nothing else may be left, and the settings; `usage` begins with the
 * command's name. True to go on and to end with config_done(); else *code is the exit code. */
bool client_settings(const char *usage, const struct flag *flags, size_t n, int argc, char **argv,
                     char **envp, struct config *config, enum cmd_exit *code);

/* Where to ask: what the flag has given, else the server's own address that speaks plain HTTP;
 * NULL, and complained about, where it has none. */
const char *client_address(const struct config *config, const char *given);

/* `listen` as the setting: HOST:PORT, :PORT, [::1]:PORT or unix:/path. What is wrong is complained
 * about: CMD_USAGE for the address, CMD_FAILED when there is no whole answer. */
enum cmd_exit client_get(const char *listen, const char *path, struct client_answer *out)
    __attribute__((warn_unused_result));

#endif
