/* $LISTEN_PID, $LISTEN_FDS, $LISTEN_FDNAMES.
 *
 * SPDX-License-Identifier: MIT */
#include "server/passed.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3
#define MAX_PASSED 16 /* more than we have names for, to say which is too many */

/* -1 for what is no number that could be a count of descriptors or a process. */
static long number(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    const long value = text ? strtol(text, &end, 10) : -1;
    return text && end != text && *end == '\0' ? value : -1;
}

/* The name of the next descriptor, and *names behind it; "" when there are fewer names. */
static void next_name(const char **names, char *out, size_t n)
{
    const size_t length = strcspn(*names, ":");
    (void)snprintf(out, n, "%.*s", (int)(length < n ? length : n - 1), *names);
    *names += length + ((*names)[length] == ':');
}

static enum rn_status assign(struct passed *passed, const char *name, int fd, struct rn_error *err)
{
    char *out = passed->http;
    if (strcmp(name, "admin") == 0)
        out = passed->admin;
    else if (strcmp(name, "agent") == 0)
        out = passed->agent;
    if (out[0] != '\0')
        return rn_fail(err, RN_BAD_ARGUMENT,
                       "the service manager passes socket \"%s\" beside another one for the same: "
                       "there may be one named admin, one named agent, and one more",
                       name);
    (void)snprintf(out, sizeof passed->http, "fd:%d", fd);
    return RN_OK;
}

enum rn_status passed_take(struct passed *out, struct rn_error *err)
{
    struct passed passed = {{0}, {0}, {0}};
    enum rn_status status = RN_OK;
    const long n = number("LISTEN_PID") == getpid() ? number("LISTEN_FDS") : 0;
    const char *names = getenv("LISTEN_FDNAMES");
    if (!names)
        names = "";
    if (n > MAX_PASSED)
        status =
            rn_fail(err, RN_BAD_ARGUMENT, "the service manager passes %ld sockets, 3 at most", n);
    for (int i = 0; i < n && status == RN_OK; i++) {
        char name[64];
        next_name(&names, name, sizeof name);
        (void)fcntl(FIRST_FD + i, F_SETFD, FD_CLOEXEC); /* what is no descriptor is found later */
        status = assign(&passed, name, FIRST_FD + i, err);
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    if (status == RN_OK)
        *out = passed;
    return status;
}
