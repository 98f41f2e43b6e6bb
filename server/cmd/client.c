/* A request line and three headers out, everything up to the end of the connection in.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/client.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/cmd/offline.h"
#include "server/listen.h"

#define MAX_ANSWER ((size_t)4 << 20)
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
    if (!colon || !listen_is_port(colon + 1))
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

/* -1 with *code set. */
static int connect_to(const char *listen, enum cmd_exit *code)
{
    char host[256];
    const char *port;
    int fd = -1;
    *code = CMD_FAILED;
    if (strncmp(listen, "unix:", 5) == 0) {
        fd = connect_unix(listen + 5);
    } else if (split(listen, host, sizeof host, &port)) {
        fd = connect_tcp(host, port);
    } else {
        offline_complain("--listen: \"%s\" is not HOST:PORT, :PORT, [::1]:PORT or unix:/path",
                         listen);
        *code = CMD_USAGE;
        return -1;
    }
    if (fd < 0)
        offline_complain("%s: %s", listen, strerror(errno));
    return fd;
}

/* Everything that comes, NUL-terminated; NULL when nothing does, or too much. */
static char *read_all(int fd)
{
    size_t n = 0, room = 65536;
    char *bytes = malloc(room);
    while (bytes) {
        const ssize_t got = recv(fd, bytes + n, room - n - 1, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
        if (n + 1 < room)
            continue;
        room *= 2;
        char *more = room <= MAX_ANSWER ? realloc(bytes, room) : NULL;
        if (!more) {
            free(bytes);
            return NULL;
        }
        bytes = more;
    }
    if (bytes && n == 0) {
        free(bytes);
        return NULL;
    }
    if (bytes)
        bytes[n] = '\0';
    return bytes;
}

bool client_settings(const char *usage, const struct flag *flags, size_t n, int argc, char **argv,
                     char **envp, struct config *config, enum cmd_exit *code)
{
    if (!offline_flags(usage, flags, n, &argc, argv, code))
        return false;
    if (argc > 0) {
        offline_complain("%.*s takes no \"%s\"", (int)strcspn(usage, " "), usage, argv[0]);
        *code = CMD_USAGE;
        return false;
    }
    *code = offline_settings(envp, config);
    return *code == CMD_OK;
}

const char *client_address(const struct config *config, const char *given)
{
    if (given || !config->tls_certificate[0])
        return given ? given : config->listen;
    if (config->admin_listen[0])
        return config->admin_listen;
    offline_complain("%s speaks HTTPS only; set admin_listen, which stays plain", config->listen);
    return NULL;
}

enum cmd_exit client_get(const char *listen, const char *path, struct client_answer *out)
{
    enum cmd_exit code;
    char question[512];
    *out = (struct client_answer){0};
    const int fd = connect_to(listen, &code);
    if (fd < 0)
        return code;
    const int n = snprintf(question, sizeof question,
                           "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    char *answer = NULL;
    if (send(fd, question, (size_t)n, MSG_NOSIGNAL) == n)
        answer = read_all(fd);
    (void)close(fd);
    char *body = answer ? strstr(answer, "\r\n\r\n") : NULL;
    if (!body || sscanf(answer, "HTTP/1.%*1d %3d", &out->status) != 1) {
        offline_complain("%s: no answer from %s", listen, path);
        free(answer);
        return CMD_FAILED;
    }
    out->body = strdup(body + 4);
    free(answer);
    if (out->body)
        return CMD_OK;
    offline_complain("out of memory");
    return CMD_FAILED;
}
