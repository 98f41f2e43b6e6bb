/* Text to socket, and who is listening already.
 *
 * Socket options that accepted connections inherit are set here, once: answers go out without
 * delay, and a peer that vanished is noticed after about 45 s of silence or 15 s of unread data.
 *
 * SPDX-License-Identifier: MIT */
#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define TCP_FLAGS_AT 13 /* RFC 9293, section 3.1 */
#define TCP_SYN 0x02

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* each only improves things */
}

/* What accepted connections inherit. */
static void set_tcp_options(int fd)
{
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 15000);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/* Binds and listens; -1 with errno. */
static int listen_at(const struct sockaddr *address, socklen_t n)
{
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (address->sa_family != AF_UNIX) {
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        set_tcp_options(fd);
    }
    if (address->sa_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, address, n) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int cause = errno;
    close(fd);
    errno = cause;
    return -1;
}

/* A socket file that nobody listens on any more is left over from a crash, and is removed. */
static bool remove_stale(const struct sockaddr_un *address, socklen_t n)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    const bool stale = connect(fd, (const struct sockaddr *)address, n) != 0 &&
                       errno == ECONNREFUSED && unlink(address->sun_path) == 0;
    close(fd);
    return stale;
}

static enum rn_status check_path(const char *listen_text, struct rn_error *err)
{
    const size_t n = strlen(listen_text) - strlen("unix:");
    const size_t room = sizeof((struct sockaddr_un){0}).sun_path;
    return n > 0 && n < room
               ? RN_OK
               : rn_fail(err, RN_BAD_ARGUMENT, "listen address %s: the path has 1 to %zu bytes",
                         listen_text, room - 1);
}

static enum rn_status open_unix(const char *listen_text, struct listener *out, struct rn_error *err)
{
    const char *path = listen_text + strlen("unix:");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const enum rn_status status = check_path(listen_text, err);
    if (status != RN_OK)
        return status;
    memcpy(address.sun_path, path, strlen(path));
    int fd = listen_at((const struct sockaddr *)&address, sizeof address);
    if (fd < 0 && errno == EADDRINUSE && remove_stale(&address, sizeof address))
        fd = listen_at((const struct sockaddr *)&address, sizeof address);
    else if (fd < 0 && errno != EADDRINUSE)
        return rn_fail(err, RN_IO, "cannot listen on %s: %s", listen_text, strerror(errno));
    if (fd < 0)
        return rn_fail(err, RN_IO, "cannot listen on %s: %s", listen_text, strerror(EADDRINUSE));
    out->fd = fd;
    (void)snprintf(out->address, sizeof out->address, "unix:%s", path);
    (void)snprintf(out->unix_path, sizeof out->unix_path, "%s", path);
    return RN_OK;
}

bool listen_is_port(const char *text)
{
    const size_t n = strspn(text, "0123456789");
    return n > 0 && n <= 5 && text[n] == '\0' && atoi(text) <= 65535;
}

/* Splits at the last colon; host without brackets. */
static bool split(const char *text, char *host, size_t n_host, char *port, size_t n_port)
{
    const char *colon = strrchr(text, ':');
    if (!colon || !listen_is_port(colon + 1))
        return false;
    size_t n = (size_t)(colon - text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
        if (n == 0)
            return false;
    } else if (memchr(text, ':', n)) {
        return false;
    }
    if (n >= n_host)
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    (void)snprintf(port, n_port, "%s", colon + 1);
    return true;
}

static void name_address(struct listener *listener, const char *scheme)
{
    union {
        struct sockaddr_storage storage;
        struct sockaddr any;
        struct sockaddr_un local;
    } bound = {0};
    socklen_t n = sizeof bound.storage;
    char host[INET6_ADDRSTRLEN] = "?", port[8] = "?";
    const bool known = getsockname(listener->fd, &bound.any, &n) == 0;
    if (known && bound.any.sa_family == AF_UNIX) {
        (void)snprintf(listener->address, sizeof listener->address, "unix:%.*s",
                       (int)sizeof bound.local.sun_path, bound.local.sun_path);
        return;
    }
    if (known)
        (void)getnameinfo(&bound.any, n, host, sizeof host, port, sizeof port,
                          NI_NUMERICHOST | NI_NUMERICSERV);
    (void)snprintf(listener->address, sizeof listener->address,
                   bound.any.sa_family == AF_INET6 ? "%s://[%s]:%s" : "%s://%s:%s", scheme, host,
                   port);
}

static bool says(int fd, int option, int wanted)
{
    int value = -1;
    socklen_t n = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &n) == 0 && value == wanted;
}

static enum rn_status check_descriptor(const char *listen_text, struct rn_error *err)
{
    const char *digits = listen_text + strlen("fd:");
    const size_t n = strspn(digits, "0123456789");
    return n > 0 && n <= 5 && digits[n] == '\0'
               ? RN_OK
               : rn_fail(err, RN_BAD_ARGUMENT, "listen address %s: expected fd: and a number",
                         listen_text);
}

/* A socket that was open when we started: its maker may keep it and share it with others, so it is
 * closed, never shut down, and a socket file stays. */
static enum rn_status adopt(const char *listen_text, const char *scheme, struct listener *out,
                            struct rn_error *err)
{
    const enum rn_status status = check_descriptor(listen_text, err);
    if (status != RN_OK)
        return status;
    const int fd = atoi(listen_text + strlen("fd:"));
    if (!says(fd, SO_TYPE, SOCK_STREAM) || !says(fd, SO_ACCEPTCONN, 1))
        return rn_fail(err, RN_BAD_ARGUMENT,
                       "listen address %s: descriptor %d is not a listening stream socket",
                       listen_text, fd);
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return rn_fail(err, RN_IO, "cannot listen on %s: %s", listen_text, strerror(errno));
    *out = (struct listener){.fd = fd, .passed = true};
    name_address(out, scheme);
    if (strncmp(out->address, "unix:", strlen("unix:")) != 0)
        set_tcp_options(fd);
    return RN_OK;
}

/* The addresses of HOST:PORT, to be freed by freeaddrinfo; *any: there was no HOST. */
static enum rn_status resolve(const char *listen, struct addrinfo **found, bool *any,
                              struct rn_error *err)
{
    char host[256], port[8];
    if (!split(listen, host, sizeof host, port, sizeof port))
        return rn_fail(err, RN_BAD_ARGUMENT,
                       "listen address %s: expected HOST:PORT, :PORT, [::1]:PORT, unix:/path or "
                       "fd:NUMBER",
                       listen);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    *any = host[0] == '\0';
    const int failure = getaddrinfo(*any ? NULL : host, port, &hints, found);
    return failure == 0
               ? RN_OK
               : rn_fail(err, RN_IO, "cannot listen on %s: %s", listen, gai_strerror(failure));
}

enum rn_status listen_check(const char *listen, struct rn_error *err)
{
    struct addrinfo *found = NULL;
    bool any;
    if (strncmp(listen, "fd:", strlen("fd:")) == 0)
        return check_descriptor(listen, err);
    if (strncmp(listen, "unix:", strlen("unix:")) == 0)
        return check_path(listen, err);
    const enum rn_status status = resolve(listen, &found, &any, err);
    if (status == RN_OK)
        freeaddrinfo(found);
    return status;
}

enum rn_status listen_open(const char *listen, const char *scheme, struct listener *out,
                           struct rn_error *err)
{
    struct listener listener = {.fd = -1};
    if (strncmp(listen, "fd:", strlen("fd:")) == 0)
        return adopt(listen, scheme, out, err);
    if (strncmp(listen, "unix:", strlen("unix:")) == 0) {
        const enum rn_status status = open_unix(listen, &listener, err);
        if (status == RN_OK)
            *out = listener;
        return status;
    }
    struct addrinfo *found = NULL;
    bool any;
    const enum rn_status status = resolve(listen, &found, &any, err);
    if (status != RN_OK)
        return status;
    int cause = EADDRNOTAVAIL;
    for (int pass = 0; pass < 2 && listener.fd < 0; pass++) {
        /* without a host, :: first: it serves IPv4, too */
        for (const struct addrinfo *a = found; a && listener.fd < 0; a = a->ai_next) {
            if (any && (a->ai_family == AF_INET6) != (pass == 0))
                continue;
            listener.fd = listen_at(a->ai_addr, a->ai_addrlen);
            if (listener.fd < 0)
                cause = errno;
        }
    }
    freeaddrinfo(found);
    if (listener.fd < 0)
        return rn_fail(err, RN_IO, "cannot listen on %s: %s", listen, strerror(cause));
    name_address(&listener, scheme);
    *out = listener;
    return RN_OK;
}

void listen_shut(const struct listener *listener)
{
    /* A packet begins with the TCP header. Who has been answered already may finish. */
    struct sock_filter no_syn[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TCP_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {.len = sizeof no_syn / sizeof *no_syn, .filter = no_syn};
    if (listener->fd >= 0)
        (void)setsockopt(listener->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void listen_close(struct listener *listener)
{
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->unix_path[0] != '\0')
        (void)unlink(listener->unix_path);
    listener->fd = -1;
    listener->unix_path[0] = '\0';
}
