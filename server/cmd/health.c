/* `resnetd health`: is the server on this machine ready? For containers without curl.
 *
 * One blocking GET /readyz with a time limit. A server that listens on every address is asked on
 * the loopback one.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/cmd/cmd.h"
#include "server/cmd/offline.h"

#define TIMEOUT_S 3 /* of each step */

static int open_socket(int family)
{
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    }
    return fd;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = open_socket(AF_UNIX);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int cause = errno;
        (void)close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

/* HOST:PORT, :PORT or [HOST]:PORT; false when it is none of them. */
static bool split(const char *listen, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(listen, ':');
    if (!colon || !colon[1])
        return false;
    size_t n = (size_t)(colon - listen);
    if (n >= 2 && listen[0] == '[' && listen[n - 1] == ']') {
        listen++;
        n -= 2;
    }
    if (n >= size)
        return false;
    memcpy(host, listen, n);
    host[n] = '\0';
    *port = colon + 1;
    if (n == 0 || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0)
        (void)snprintf(host, size, "127.0.0.1");
    else if (strcmp(host, "::") == 0)
        (void)snprintf(host, size, "::1");
    return true;
}

static int connect_tcp(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int fd = -1, cause = EHOSTUNREACH;
    if (getaddrinfo(host, port, &hints, &list) != 0)
        list = NULL;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = open_socket(a->ai_family);
        if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            cause = errno;
            if (fd >= 0)
                (void)close(fd);
            fd = -1;
        }
    }
    if (list)
        freeaddrinfo(list);
    errno = cause;
    return fd;
}

/* The status code of GET /readyz, 0 when no answer could be read. */
static int ask(int fd)
{
    static const char question[] =
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static const char version[] = "HTTP/1.1 ";
    char answer[sizeof version + 3] = "";
    size_t n = 0;
    if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof question - 1))
        return 0;
    while (n < sizeof answer - 1) {
        ssize_t got = recv(fd, answer + n, sizeof answer - 1 - n, 0);
        if (got <= 0)
            return 0;
        n += (size_t)got;
    }
    int code = 0;
    return sscanf(answer, "HTTP/1.%*1d %3d", &code) == 1 ? code : 0;
}

static enum cmd_exit check(const char *listen)
{
    char host[256];
    const char *port;
    int fd;
    if (strncmp(listen, "unix:", 5) == 0) {
        fd = connect_unix(listen + 5);
    } else if (split(listen, host, sizeof host, &port)) {
        fd = connect_tcp(host, port);
    } else {
        offline_complain("--listen: \"%s\" is not HOST:PORT, :PORT, [::1]:PORT or unix:/path",
                         listen);
        return CMD_USAGE;
    }
    if (fd < 0) {
        offline_complain("%s: %s", listen, strerror(errno));
        return CMD_FAILED;
    }
    int code = ask(fd);
    (void)close(fd);
    if (code == 200)
        return CMD_OK;
    if (code)
        offline_complain("%s: not ready, /readyz answers %d", listen, code);
    else
        offline_complain("%s: no answer from /readyz", listen);
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
    if (!offline_flags("health [--listen HOST:PORT]", flags, 1, &argc, argv, &code))
        return code;
    if (argc > 0) {
        offline_complain("health takes no \"%s\"", argv[0]);
        return CMD_USAGE;
    }
    code = offline_settings(envp, &config);
    if (code != CMD_OK)
        return code;
    code = check(listen ? listen : config.listen);
    config_done(&config);
    return code;
}
