/* Settings and passed sockets to open servers.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/listeners.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "server/agent.h"
#include "server/cmd/credentials.h"
#include "server/cmd/descriptors.h"
#include "server/log.h"

/* A passed socket goes before a setting: the unit that passes it says where to listen. */
static const char *choose(const char *passed, const char *setting)
{
    return passed[0] != '\0' ? passed : setting;
}

bool listeners_have_admin(const struct listeners *listeners, const struct config *config)
{
    return choose(listeners->passed.admin, config->admin_listen)[0] != '\0';
}

static enum rn_status open_http(const struct listeners_means *means, const char *listen, bool admin,
                                struct http **out, struct rn_error *err)
{
    const struct config *c = means->config;
    struct http_options options = {.listen = listen,
                                   .max_body_bytes = c->max_body_bytes,
                                   .max_upload_bytes = c->max_upload_bytes,
                                   .max_connections =
                                       admin ? DESCRIPTORS_OPERATORS : c->max_connections,
                                   .max_connections_per_address = c->max_connections_per_address,
                                   .header_timeout_ms = c->header_timeout_ms,
                                   .body_timeout_ms = c->body_timeout_ms,
                                   .idle_timeout_ms = c->idle_timeout_ms,
                                   .write_timeout_ms = c->write_timeout_ms,
                                   .min_upload_bytes_per_s = c->min_upload_bytes_per_s,
                                   .admin = admin,
                                   .tls = !admin && credentials_have_tls(c),
                                   .proxies = means->proxies};
    const enum rn_status status = http_open(means->loop, &options, &means->handlers, out, err);
    if (status == RN_OK)
        log_event(LOG_INFO, admin ? "listening for operators" : "listening", "address=%s passed=%s",
                  http_address(*out), strncmp(listen, "fd:", 3) == 0 ? "yes" : "no");
    return status;
}

enum rn_status listeners_open(struct listeners *listeners, const struct listeners_means *means,
                              struct rn_error *err)
{
    struct listeners *l = listeners;
    const struct config *c = means->config;
    const char *admin = choose(l->passed.admin, c->admin_listen);
    const char *agent = choose(l->passed.agent, c->agent_listen);
    enum rn_status status = RN_OK;
    l->means = *means;
    if (l->passed.http[0] == '\0')
        status = open_http(means, c->listen, false, &l->http, err);
    if (status == RN_OK && admin[0] != '\0')
        status = open_http(means, admin, true, &l->admin, err);
    if (status == RN_OK && agent[0] != '\0')
        status = agent_open(means->loop, agent, means->report, means->context, &l->agent, err);
    if (status == RN_OK && l->agent)
        log_event(LOG_INFO, "listening for balancers", "address=%s", agent_address(l->agent));
    return status;
}

enum rn_status listeners_ready(struct listeners *listeners, struct rn_error *err)
{
    struct listeners *l = listeners;
    return l->http ? RN_OK : open_http(&l->means, l->passed.http, false, &l->http, err);
}

void listeners_announce(const struct listeners *listeners)
{
    const char *address = http_address(listeners->http);
    bool local = strncmp(address, "unix:", 5) == 0;
    const char *where = local ? "http://localhost" : address;
    char socket[256] = "";
    if (local)
        (void)snprintf(socket, sizeof socket, "--unix-socket %s ", address + 5);
    (void)fprintf(stderr,
                  "\nresnetd %s is serving on %s. Open that in a browser, or try:\n"
                  "  curl %s-T photo.jpg %s/classify\n"
                  "  curl %s-F image=@photo.jpg '%s/classify?top_k=3'\n\n",
                  RESNETD_VERSION, address, socket, where, socket, where);
}

void listeners_leave(struct listeners *listeners)
{
    if (listeners->http)
        http_leave(listeners->http);
    if (listeners->admin)
        http_leave(listeners->admin);
}

void listeners_drain(struct listeners *listeners)
{
    if (listeners->http)
        http_drain(listeners->http);
    if (listeners->admin)
        http_drain(listeners->admin);
}

size_t listeners_connections(const struct listeners *listeners)
{
    return (listeners->http ? http_connections(listeners->http) : 0) +
           (listeners->admin ? http_connections(listeners->admin) : 0);
}

size_t listeners_in_flight(const struct listeners *listeners)
{
    return listeners->http ? http_in_flight(listeners->http) : 0;
}

void listeners_close(struct listeners *listeners)
{
    http_close(listeners->http);
    http_close(listeners->admin);
    agent_close(listeners->agent);
}
