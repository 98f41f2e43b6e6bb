/* The subcommands: each gets what follows its name on the command line and returns the process's
 * exit code.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_CMD_H
#define RESNETD_SERVER_CMD_CMD_H

enum cmd_exit { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2, CMD_MODEL = 3 };

int cmd_serve(int argc, char **argv, char **envp);
int cmd_classify(int argc, char **argv, char **envp);
int cmd_inspect(int argc, char **argv, char **envp);
int cmd_bench(int argc, char **argv, char **envp);
int cmd_health(int argc, char **argv, char **envp);
int cmd_top(int argc, char **argv, char **envp);
int cmd_pull(int argc, char **argv, char **envp);
int cmd_decode_zygote(int argc, char **argv, char **envp);

#endif
