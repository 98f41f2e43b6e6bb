/* `resnetd health`: is the server on this machine ready? For containers without curl.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "server/cmd/client.h"
#include "server/cmd/cmd.h"
#include "server/cmd/offline.h"

static enum cmd_exit check(const char *listen)
{
    struct client_answer answer;
    const enum cmd_exit code = client_get(listen, "/readyz", &answer);
    free(answer.body);
    if (code != CMD_OK || answer.status == 200)
        return code;
    offline_complain("%s: not ready, /readyz answers %d", listen, answer.status);
    return CMD_FAILED;
}

int cmd_health(int argc, char **argv, char **envp)
{
    const char *listen = NULL;
    const struct flag flags[] = {
        {"listen", FLAG_TEXT, &listen, 0, 0, "ADDRESS",
         "where the server listens: HOST:PORT, :PORT, [::1]:PORT or unix:/path"},
    };
    struct config config;
    enum cmd_exit code;
    if (!client_settings("health [--listen HOST:PORT]", flags, 1, argc, argv, envp, &config, &code))
        return code;
    listen = client_address(&config, listen);
    code = listen ? check(listen) : CMD_FAILED;
    config_done(&config);
    return code;
}
