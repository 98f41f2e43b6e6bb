/* The program: one table of subcommands. What a command does is in cmd/<name>.c.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "server/cmd/cmd.h"

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv, char **envp);
} commands[] = {
    {"serve", "answer image uploads over HTTP", cmd_serve},
    {"classify", "classify files and folders without a server", cmd_classify},
    {"inspect", "print a model layer by layer", cmd_inspect},
    {"bench", "time a model on this machine", cmd_bench},
    {"health", "ask a running server whether it is ready", cmd_health},
    {"top", "show what a running server is doing, live", cmd_top},
    {"pull", "fetch a model from a hub", cmd_pull},
    {"decode-zygote", NULL, cmd_decode_zygote}, /* what serve starts, see sandbox.h */
};

#define N_COMMANDS (sizeof commands / sizeof *commands)

static void print_help(FILE *out)
{
    (void)fprintf(out,
                  "resnetd %s: image classification over HTTP on CPUs\n\n"
                  "usage: resnetd COMMAND [OPTIONS]\n\n",
                  RESNETD_VERSION);
    for (size_t i = 0; i < N_COMMANDS && commands[i].help; i++)
        (void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    (void)fprintf(out, "\nresnetd COMMAND --help has the options of each.\n");
}

/* Who starts us with standard streams closed would have log lines written into whatever socket or
 * file was opened as descriptor 2, and libuv ends the process when it is to close one of them. */
static bool hold_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    return true;
}

/* What was printed has arrived, or the command has failed. */
static int end(int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    (void)fprintf(stderr, "resnetd: standard output: %s\n",
                  errno ? strerror(errno) : "not all of it could be written");
    return code == CMD_OK ? CMD_FAILED : code;
}

int main(int argc, char **argv, char **envp)
{
    if (!hold_standard_streams())
        return CMD_FAILED;
    if (argc < 2) {
        print_help(stderr);
        return CMD_USAGE;
    }
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(argv[1], commands[i].name) == 0)
            return end(commands[i].run(argc - 2, argv + 2, envp));
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return end(CMD_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("resnetd %s (%s)\n", RESNETD_VERSION, RESNETD_COMMIT);
        return end(CMD_OK);
    }
    const char *nearest = config_nearest(argv[1], names, N_COMMANDS);
    (void)fprintf(stderr, "resnetd: there is no command '%s'", argv[1]);
    (void)fprintf(stderr, nearest ? "; did you mean %s?\n" : "; see resnetd --help\n", nearest);
    return CMD_USAGE;
}
