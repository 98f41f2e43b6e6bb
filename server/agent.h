/* The balancer's one-line port: HAProxy's agent-check, on which a server says how much it can take.
 *
 * Loop thread. Whoever connects is told one line and closed; nothing is read, so that there is
 * nothing to parse and nobody to wait for.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_AGENT_H
#define RESNETD_SERVER_AGENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

struct uv_loop_s;
struct agent;

enum agent_state { AGENT_LOADING, AGENT_READY, AGENT_STUCK, AGENT_DRAINING };

struct agent_report {
    enum agent_state state;
    bool fresh;         /* the balancer may still have us drained; filled in by agent.c */
    uint64_t image_ns;  /* what an image takes of a busy server, as learned */
    uint64_t flops;     /* of an image */
    size_t n_receiving; /* requests whose body is still coming in, or whose answer is going out */
    size_t n_slots;     /* requests that keep this machine busy */
};

#define AGENT_LINE_SIZE 64

/* The line for a report, with its newline; pure. Returns its length. */
size_t agent_write(const struct agent_report *report, char line[AGENT_LINE_SIZE]);

/* Who has asked of late; in place of the one that was silent for longest comes a new one. */
#define AGENT_BALANCERS 16
struct agent_balancers {
    struct agent_balancer {
        struct in6_addr address;     /* zeros for a local socket */
        uint64_t since_ns, asked_ns; /* 0: an empty row */
    } rows[AGENT_BALANCERS];
};

/* This balancer asks now: was it never heard of before ten seconds ago, or silent for a minute
 * before that? Pure. */
bool agent_is_fresh(struct agent_balancers *balancers, const struct in6_addr *address,
                    uint64_t now_ns);

/* `report` is asked at every connection. RN_BAD_ARGUMENT, RN_IO: the message names the address. */
enum rn_status agent_open(struct uv_loop_s *loop, const char *listen,
                          void (*report)(void *context, struct agent_report *out), void *context,
                          struct agent **out, struct rn_error *err)
    __attribute__((warn_unused_result));
/* "tcp://127.0.0.1:8081" with the real port, or "unix:/path". */
const char *agent_address(const struct agent *agent);
/* Handles are closed: run the loop once more before ending it. NULL is allowed. */
void agent_close(struct agent *agent);

#endif
