/* What classify, inspect and bench share: settings from the environment and one model.
 *
 * Errors are printed to stderr, one line that begins with the program's name, and answered as the
 * command's exit code.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_OFFLINE_H
#define RESNETD_SERVER_CMD_OFFLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "engine/engine.h"
#include "server/cmd/cmd.h"
#include "server/cmd/flags.h"

/* Prints `resnetd: …` as a line of stderr. */
__attribute__((format(printf, 1, 2))) void offline_complain(const char *format, ...);

/* Reads the flags of a command, and --help: prints `usage` and the list. True to go on; else *code
 * is the exit code. argc and argv keep what is no flag. */
bool offline_flags(const char *usage, const struct flag *flags, size_t n, int *argc, char **argv,
                   enum cmd_exit *code);

/* The settings as defaults, RESNETD_CONFIG and RESNETD_* say; end with config_done(). */
enum cmd_exit offline_settings(char **envp, struct config *config)
    __attribute__((warn_unused_result));

/* Threads of the engine: the setting, or else the cores that may be used. */
int offline_threads(const struct config *config);

/* Opens [NAME=]PATH; "" is the settings' first model, and without one the embedded. */
enum cmd_exit offline_model(const struct config *config, const char *path, int max_batch,
                            struct rn_model **out) __attribute__((warn_unused_result));

#endif
