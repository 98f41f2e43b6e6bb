/* One datagram to $NOTIFY_SOCKET; '@' stands for the abstract namespace's leading NUL. See
 * sd_notify(3). A service manager that does not listen is not our trouble: failures are ignored.
 *
 * SPDX-License-Identifier: MIT */
#include "server/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/clock.h"

static void tell(const char *state, int flags)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    const struct timeval patience = {.tv_sec = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void)sendto(fd, state, strlen(state), flags | MSG_NOSIGNAL, (struct sockaddr *)&address, n);
    close(fd);
}

void notify_send(const char *state)
{
    tell(state, 0);
}

void notify_again(const char *state)
{
    tell(state, MSG_DONTWAIT);
}

void notify_reloading(void)
{
    char state[64];
    (void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
                   (unsigned long long)(clock_ns() / 1000));
    notify_send(state);
}
