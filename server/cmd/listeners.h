/* Everything that `serve` listens on: requests, operators, balancers; opened here or passed by the
 * service manager.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_LISTENERS_H
#define RESNETD_SERVER_CMD_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/http.h"
#include "server/passed.h"

struct agent;
struct agent_report;
struct config;
struct proxies;
struct uv_loop_s;

/* Borrowed, for as long as anything listens. */
struct listeners_means {
    struct uv_loop_s *loop;
    const struct config *config;
    struct http_handlers handlers;
    const struct proxies *proxies;
    void (*report)(void *context, struct agent_report *out); /* what the agent's port says */
    void *context;                                           /* of report */
};

struct listeners {
    struct passed passed;
    struct listeners_means means;
    struct http *http;   /* NULL before listeners_ready, if its socket was passed */
    struct http *admin;  /* NULL when operators have no listener of their own */
    struct agent *agent; /* NULL without agent_listen */
};

/* Does anybody listen for operators? */
bool listeners_have_admin(const struct listeners *listeners, const struct config *config);

/* On failure what is open already stays for _close. */
enum rn_status listeners_open(struct listeners *listeners, const struct listeners_means *means,
                              struct rn_error *err) __attribute__((warn_unused_result));
/* Images can be classified. Not earlier is a passed socket listened on: whoever connected to it
 * while one process followed another waits for an answer, instead of hearing that it is too soon.
 */
enum rn_status listeners_ready(struct listeners *listeners, struct rn_error *err)
    __attribute__((warn_unused_result));
/* How to send an image, for whoever started us. After listeners_ready. */
void listeners_announce(const struct listeners *listeners);

/* See http_leave and http_drain; the agent's port goes on. */
void listeners_leave(struct listeners *listeners);
void listeners_drain(struct listeners *listeners);
size_t listeners_connections(const struct listeners *listeners);
size_t listeners_in_flight(const struct listeners *listeners); /* of clients */
void listeners_close(struct listeners *listeners);

#endif
