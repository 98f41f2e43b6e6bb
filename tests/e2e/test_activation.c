/* The service manager's side of the real binary: sockets that it passes, and what it is told.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/support_server.h"

TestSuite(e2e_activation, .timeout = 60);

#define PATIENCE_MS 60000
#define MAX_SOCKETS 3

struct manager {
    int sockets[MAX_SOCKETS], ports[MAX_SOCKETS], n_sockets;
    int notify;
    struct sockaddr_un notify_address;
};

static int bind_port(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 64), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* Opens the sockets as a .socket unit does, and the one for notifications in the abstract
 * namespace. */
static void manage(struct manager *m, int n_sockets)
{
    *m = (struct manager){.n_sockets = n_sockets, .notify_address.sun_family = AF_UNIX};
    for (int i = 0; i < n_sockets; i++)
        m->sockets[i] = bind_port(&m->ports[i]);
    m->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int n = snprintf(m->notify_address.sun_path + 1, sizeof m->notify_address.sun_path - 1,
                           "resnetd-test-%d", (int)getpid());
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    cr_assert_eq(bind(m->notify, (const struct sockaddr *)&m->notify_address, size), 0);
}

static int start(const struct manager *m, const char *names)
{
    const int pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0)
        return pid;
    char number[16];
    const char *binary = getenv("RESNETD_BINARY");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int kept[MAX_SOCKETS]; /* out of the way of what they are about to become */
    for (int i = 0; i < m->n_sockets; i++)
        kept[i] = fcntl(m->sockets[i], F_DUPFD, 20);
    for (int i = 0; i < m->n_sockets; i++)
        (void)dup2(kept[i], 3 + i);
    (void)snprintf(number, sizeof number, "%d", (int)getpid());
    (void)setenv("LISTEN_PID", number, 1);
    (void)unsetenv("RESNETD_BINARY");
    (void)snprintf(number, sizeof number, "%d", m->n_sockets);
    (void)setenv("LISTEN_FDS", number, 1);
    (void)setenv("LISTEN_FDNAMES", names, 1);
    (void)setenv("WATCHDOG_USEC", "10000000", 1);
    char path[128];
    (void)snprintf(path, sizeof path, "@%s", m->notify_address.sun_path + 1);
    (void)setenv("NOTIFY_SOCKET", path, 1);
    close_range(3 + (unsigned)m->n_sockets, ~0u, 0);
    (void)execl(binary ? binary : "build/resnetd", "resnetd", "serve",
                "--access-log=", "--log-level=error", NULL);
    _exit(127);
}

/* The notifications up to one that holds `text`, each ending in a newline; free() it. */
static char *hear_until(const struct manager *m, const char *text)
{
    char *all = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&all, &n);
    for (;;) {
        char message[512];
        struct pollfd fd = {.fd = m->notify, .events = POLLIN};
        cr_assert_eq(poll(&fd, 1, PATIENCE_MS), 1, "no %s after: %s", text, all);
        const ssize_t got = recv(m->notify, message, sizeof message - 1, 0);
        cr_assert_gt(got, 0);
        message[got] = '\0';
        (void)fprintf(out, "%s\n", message);
        (void)fflush(out);
        if (strstr(message, text))
            break;
    }
    (void)fclose(out);
    return all;
}

static int ask_status(int port, const char *path, char *body, size_t n)
{
    struct server server = {.port = port};
    struct reply reply;
    (void)snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", port);
    if (strcmp(path, "/classify") == 0)
        ask_file(&server, path, PHOTO, &reply);
    else
        ask_get(&server, path, &reply);
    const int status = (int)reply.status;
    if (body)
        (void)snprintf(body, n, "%s", reply.body);
    reply_done(&reply);
    return status;
}

static int end(int pid, int number)
{
    int status = 0;
    cr_assert_eq(kill(pid, number), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* As bytes on a connection that nobody has accepted yet. */
static int ask_early(int port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char header[128];
    size_t n = 0;
    char *photo = read_file(PHOTO, &n);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    (void)snprintf(header, sizeof header,
                   "POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", n);
    cr_assert_eq(write(fd, header, strlen(header)), (ssize_t)strlen(header));
    cr_assert_eq(write(fd, photo, n), (ssize_t)n);
    free(photo);
    return fd;
}

static void expect_200(int fd)
{
    static const char wanted[] = "HTTP/1.1 200 ";
    char text[sizeof wanted] = "";
    cr_expect_eq(recv(fd, text, sizeof wanted - 1, MSG_WAITALL), (ssize_t)sizeof wanted - 1);
    cr_expect_str_eq(text, wanted);
    close(fd);
}

Test(e2e_activation, who_connects_between_two_processes_is_served_by_the_second)
{
    struct manager m;
    manage(&m, 1);
    const int before = ask_early(m.ports[0]);
    const int first = start(&m, "resnetd.socket");
    expect_200(before);
    cr_expect_eq(ask_status(m.ports[0], "/classify", NULL, 0), 200);
    cr_expect_eq(end(first, SIGTERM), 0);
    const int between = ask_early(m.ports[0]);
    const int second = start(&m, "resnetd.socket");
    expect_200(between);
    cr_expect_eq(end(second, SIGKILL), 128 + SIGKILL);
    const int after_crash = ask_early(m.ports[0]);
    const int third = start(&m, "resnetd.socket");
    expect_200(after_crash);
    cr_expect_eq(end(third, SIGTERM), 0, "though nobody reads what the manager is told");
}

Test(e2e_activation, operators_and_balancers_have_sockets_of_their_own)
{
    struct manager m;
    char text[128] = "";
    manage(&m, 3);
    const int pid = start(&m, "http:admin:agent");
    free(hear_until(&m, "READY=1"));
    cr_expect_eq(ask_status(m.ports[0], "/debug/requests", NULL, 0), 403);
    cr_expect_eq(ask_status(m.ports[1], "/debug/requests", NULL, 0), 200);
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)m.ports[2]),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    cr_expect_gt(read(fd, text, sizeof text - 1), 0);
    cr_expect_eq(strncmp(text, "ready up ", 9), 0, "%s", text);
    close(fd);
    cr_expect_eq(end(pid, SIGTERM), 0);
}

Test(e2e_activation, the_service_manager_hears_of_every_turn)
{
    struct manager m;
    manage(&m, 1);
    const int pid = start(&m, "http");
    char *said = hear_until(&m, "READY=1");
    cr_expect_not_null(strstr(said, "WATCHDOG=1\nSTATUS=loading models, 0 requests in flight"),
                       "%s", said);
    free(said);
    free(hear_until(&m, "WATCHDOG=1\nSTATUS=0 requests in flight, 0 images queued"));
    cr_assert_eq(kill(pid, SIGHUP), 0);
    free(hear_until(&m, "RELOADING=1\nMONOTONIC_USEC="));
    free(hear_until(&m, "READY=1"));
    cr_assert_eq(kill(pid, SIGTERM), 0);
    free(hear_until(&m, "STOPPING=1"));
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
}
