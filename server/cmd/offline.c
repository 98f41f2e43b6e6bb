/* Settings, flags and model for the commands that need no server.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/offline.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/cmd/model.h"

void offline_complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("resnetd: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

bool offline_flags(const char *usage, const struct flag *flags, size_t n, int *argc, char **argv,
                   enum cmd_exit *code)
{
    struct flags_error err;
    for (int i = 0; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
            continue;
        (void)printf("usage: resnetd %s\n\n", usage);
        flags_print_help(flags, n, stdout);
        (void)printf("\nThe server's settings (resnetd serve --help) apply as RESNETD_CONFIG and "
                     "RESNETD_* give them.\n");
        *code = CMD_OK;
        return false;
    }
    if (flags_parse(flags, n, argc, argv, &err))
        return true;
    offline_complain("%s", err.text);
    (void)fprintf(stderr, "usage: resnetd %.*s\n", (int)strcspn(usage, "\n"), usage);
    *code = CMD_USAGE;
    return false;
}

static void warn(const char *sentence)
{
    offline_complain("%s", sentence);
}

enum cmd_exit offline_settings(char **envp, struct config *config)
{
    struct config_error err;
    if (config_load(config, 0, NULL, envp, warn, &err))
        return CMD_OK;
    offline_complain("%s", err.text);
    return CMD_USAGE;
}

int offline_threads(const struct config *config)
{
    return config->threads > 0 ? config->threads : rn_threads_available();
}

enum cmd_exit offline_model(const struct config *config, const char *path, int max_batch,
                            struct rn_model **out)
{
    struct rn_error err = {0};
    if (!path[0] && config->model.n > 0)
        path = config->model.items[0];
    if (model_open(config, path, config->labels, max_batch, NULL, out, &err) == RN_OK)
        return CMD_OK;
    offline_complain("%s", err.text);
    return CMD_MODEL;
}
