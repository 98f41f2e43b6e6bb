/* `resnetd pull` is a program of its own beside this one: the daemon, which faces strangers, shall
 * not carry an HTTP client, and its start not pay for the libraries behind that.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/cmd/cmd.h"
#include "server/cmd/offline.h"

int cmd_pull(int argc, char **argv, char **envp)
{
    static char name[] = "resnetd-pull";
    char path[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    char **words = calloc((size_t)argc + 2, sizeof *words);
    const char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    if (!words || !slash || (size_t)(slash + 1 - path) + sizeof name > sizeof path) {
        offline_complain("pull cannot find the program it is");
        free(words);
        return CMD_FAILED;
    }
    memcpy(path + (slash + 1 - path), name, sizeof name);
    words[0] = name;
    memcpy(words + 1, argv, (size_t)argc * sizeof *words);
    (void)execve(path, words, envp);
    offline_complain("%s: %s (it is installed with resnetd; of the Docker image it is a target of "
                     "its own, pull)",
                     path, strerror(errno));
    free(words);
    return CMD_FAILED;
}
