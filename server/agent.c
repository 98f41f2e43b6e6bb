/* A listening socket in the loop, and the words of haproxy's "agent-check".
 *
 * The percentage is a node's learned capacity, measured by a machine of our own making that is the
 * same for all nodes with the same model: it decodes an image in 20 ms and then computes 10 GFLOP a
 * second, about a tenth of a core of 2023. HAProxy multiplies a server's initial weight by it, 1 if
 * none is set, so that shares go by capacity; the result is cut off at 256, and would be no share
 * at all under 1.
 *
 * "drain" changes a server's administrative state, which only "ready" changes back. An operator's
 * own drain would be changed back by it, too: hence "ready" is for a balancer that was not heard of
 * for a minute, or never by this process, and for ten seconds.
 *
 * SPDX-License-Identifier: MIT */
#include "server/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "server/listen.h"

#define REFERENCE_DECODE_NS 20e6
#define REFERENCE_GFLOPS 10.0 /* FLOP a nanosecond */
#define MIN_PERCENT 100.0
#define MAX_PERCENT 25600.0 /* HAProxy's own */
#define PAUSE_MS 1000       /* without descriptors */

#define FORGOTTEN_NS ((uint64_t)60 * 1000000000)
#define GREETING_NS ((uint64_t)10 * 1000000000)

struct agent {
    struct agent_balancers balancers;
    struct listener listener;
    uv_poll_t poll;
    uv_timer_t pause;
    int n_handles;
    void (*report)(void *context, struct agent_report *out);
    void *context;
};

static int percent(const struct agent_report *report)
{
    const double reference_ns = REFERENCE_DECODE_NS + (double)report->flops / REFERENCE_GFLOPS;
    const double value = report->image_ns > 0 ? 100 * reference_ns / (double)report->image_ns : 100;
    return value < MIN_PERCENT   ? (int)MIN_PERCENT
           : value > MAX_PERCENT ? (int)MAX_PERCENT
                                 : (int)(value + 0.5);
}

size_t agent_write(const struct agent_report *report, char line[AGENT_LINE_SIZE])
{
    int n = 0;
    switch (report->state) {
    case AGENT_LOADING:
        n = snprintf(line, AGENT_LINE_SIZE, "down #loading\n");
        break;
    case AGENT_READY:
        n = snprintf(line, AGENT_LINE_SIZE, "%sup %d%% maxconn:%zu\n",
                     report->fresh ? "ready " : "", percent(report),
                     report->n_receiving + report->n_slots);
        break;
    case AGENT_STUCK:
        n = snprintf(line, AGENT_LINE_SIZE, "down #stuck\n");
        break;
    case AGENT_DRAINING:
        n = snprintf(line, AGENT_LINE_SIZE, "drain\n");
        break;
    }
    return (size_t)n;
}

bool agent_is_fresh(struct agent_balancers *balancers, const struct in6_addr *address,
                    uint64_t now_ns)
{
    struct agent_balancer *row = balancers->rows;
    for (int i = 0; i < AGENT_BALANCERS; i++) {
        struct agent_balancer *b = &balancers->rows[i];
        if (b->asked_ns > 0 && memcmp(&b->address, address, sizeof *address) == 0) {
            row = b;
            break;
        }
        if (b->asked_ns < row->asked_ns)
            row = b;
    }
    if (row->asked_ns == 0 || memcmp(&row->address, address, sizeof *address) != 0 ||
        now_ns - row->asked_ns > FORGOTTEN_NS)
        *row = (struct agent_balancer){.address = *address, .since_ns = now_ns};
    row->asked_ns = now_ns;
    return now_ns - row->since_ns < GREETING_NS;
}

static int accept_balancer(const struct agent *agent, struct in6_addr *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage storage;
    } peer = {0};
    socklen_t n = sizeof peer.storage;
    const int fd = accept4(agent->listener.fd, &peer.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    memset(address, 0, sizeof *address);
    if (peer.any.sa_family == AF_INET)
        memcpy(address, &peer.v4.sin_addr, sizeof peer.v4.sin_addr);
    else if (peer.any.sa_family == AF_INET6)
        *address = peer.v6.sin6_addr;
    return fd;
}

static void on_connection(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    (void)uv_poll_start(&agent->poll, UV_READABLE, on_connection);
}

/* A line fits into any socket's buffer, so it is written without waiting. */
static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct agent *agent = poll->data;
    (void)status;
    (void)events;
    struct in6_addr address;
    const int fd = accept_balancer(agent, &address);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            (void)uv_poll_stop(&agent->poll); /* or the loop would spin */
            (void)uv_timer_start(&agent->pause, on_pause_over, PAUSE_MS, 0);
        }
        return;
    }
    char line[AGENT_LINE_SIZE];
    struct agent_report report = {0};
    agent->report(agent->context, &report);
    report.fresh =
        report.state == AGENT_READY && agent_is_fresh(&agent->balancers, &address, uv_hrtime());
    (void)send(fd, line, agent_write(&report, line), MSG_NOSIGNAL); /* who asks asks again */
    close(fd);
}

static void on_closed(uv_handle_t *handle)
{
    struct agent *agent = handle->data;
    if (--agent->n_handles == 0) {
        listen_close(&agent->listener);
        free(agent);
    }
}

enum rn_status agent_open(struct uv_loop_s *loop, const char *listen,
                          void (*report)(void *context, struct agent_report *out), void *context,
                          struct agent **out, struct rn_error *err)
{
    struct agent *agent = calloc(1, sizeof *agent);
    if (!agent)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the agent's port");
    const enum rn_status status = listen_open(listen, "tcp", &agent->listener, err);
    if (status != RN_OK) {
        free(agent);
        return status;
    }
    agent->report = report;
    agent->context = context;
    agent->poll.data = agent->pause.data = agent;
    if (uv_poll_init(loop, &agent->poll, agent->listener.fd) != 0) {
        listen_close(&agent->listener);
        free(agent);
        return rn_fail(err, RN_IO, "the agent's port could not be served on %s", listen);
    }
    (void)uv_timer_init(loop, &agent->pause);
    agent->n_handles = 2;
    (void)uv_poll_start(&agent->poll, UV_READABLE, on_connection);
    *out = agent;
    return RN_OK;
}

const char *agent_address(const struct agent *agent)
{
    return agent->listener.address;
}

void agent_close(struct agent *agent)
{
    if (!agent)
        return;
    uv_close((uv_handle_t *)&agent->poll, on_closed);
    uv_close((uv_handle_t *)&agent->pause, on_closed);
}
