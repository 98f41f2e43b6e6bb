/* What the http*.c files share; nobody else includes this.
 *
 *   http.c           the daemon in the loop, and what the library calls back
 *   http_conn.c      connections: their deadlines, who leaves while suspended, lingering closes
 *   http_exchange.c  a request's body and its reply
 *   http_memory.c    what an idle connection gives back
 *   http_guard.c     what the library's parser lets through and we do not; pure
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_HTTP_INTERNAL_H
#define RESNETD_SERVER_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <uv.h>

#include "server/http.h"
#include "server/listen.h"

#define HTTP_MAX_REPLY_HEADERS 12
#define HTTP_CONNECTION_MEMORY 32768u /* of the library; larger pools are slower */
/* What of it a header may take, so that an answer finds room; the library keeps so many bytes for
 * each field and parameter; and parameters it would not even refuse if they took all of it. */
#define HTTP_MAX_HEADER (HTTP_CONNECTION_MEMORY - 4096)
#define HTTP_FIELD_BYTES 64
#define HTTP_MAX_PARAMETERS 100

/* What an entry of the watching epoll is: first member of struct http_conn and struct http_linger.
 */
enum http_watched { HTTP_WATCHED_CONN, HTTP_WATCHED_LINGER };

enum http_conn_state {
    HTTP_CONN_IDLE, /* no byte of a request yet */
    HTTP_CONN_HEADER,
    HTTP_CONN_BODY,
    HTTP_CONN_WORKING, /* the handler has the request */
    HTTP_CONN_WRITING,
    HTTP_CONN_ABORTED, /* shut down by us; the library will notice */
};

struct http_conn {
    enum http_watched watched;
    enum http_conn_state state;
    struct http *http;
    struct http_conn *prev, *next; /* all connections */
    struct MHD_Connection *mhd;
    struct http_exchange_full *exchange; /* the present one, or NULL */
    int fd;                              /* the library's; borrowed */
    uint64_t since_ns;                   /* when the deadline of this state began */
    bool fresh;                          /* no request completed yet */
    const char *target, *target_end;     /* the present request's, where the library has it */
    bool bad_target;                     /* it breaks a rule */
    bool suspended;
    bool streams;       /* the watch tells whenever bytes come, else of the next event only */
    char peer[64];      /* its address, once there was a request */
    bool at_once;       /* its first byte was one of a request line */
    const char *memory; /* the library's for it, once that is known for certain */
    bool released;      /* what that memory does not need while idle */
};

struct http_exchange_full {
    struct http_exchange base; /* first: handlers hold a pointer to it */
    struct http_conn *conn;
    uint8_t *body;
    size_t body_room;
    struct {
        char *name, *value;
    } headers[HTTP_MAX_REPLY_HEADERS];
    int n_headers;
    char *reply; /* owned until queued */
    size_t n_reply;
    char content_type[64];
    bool replied, gone;
    bool close;  /* Connection: close */
    bool linger; /* go on reading after the reply, so that it arrives */
};

/* A socket that we keep after the library closed its own descriptor, reading and dropping: closing
 * with unread bytes would reset the connection and could take the answer with it. */
struct http_linger {
    enum http_watched watched;
    struct http *http;
    struct http_linger *prev, *next;
    int fd;
    uint64_t since_ns, read_ns;
};

struct http {
    uv_loop_t *loop;
    struct http_options options;
    struct http_handlers handlers;
    struct listener listener;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;   /* the library's epoll */
    uv_timer_t timer; /* MHD_get_timeout said later */
    uv_idle_t again;  /* MHD_get_timeout said now */
    int watch_fd;     /* our epoll: first byte, leaving, lingering */
    uv_poll_t watch;
    uv_timer_t sweep;        /* deadlines */
    uv_handle_t *handles[5]; /* all of the above, as far as they are initialised */
    int n_handles;
    struct http_conn *conns;
    struct http_linger *lingers;
    size_t n_conns, n_exchanges, n_lingers;
    size_t n_upload_bytes; /* allocated for bodies */
    bool strings_in_place; /* the library leaves a header's strings where they came in */
    bool one_closed;       /* a connection, since the library was run last */
    bool leaving, draining;
    uint64_t run_ns, run_before_ns; /* when the library was run last, and the time before that */
    uint8_t noise[256];             /* for ids; the first n_noise are unused */
    size_t n_noise;
};

/* ---- http_guard.c ---------------------------------------------------------------------------- */
struct http_guard {
    int n_lengths, n_encodings, n_hosts;
    bool chunked;
    const char *fault; /* a sentence, NULL while all is well */
    const char *at;    /* where the next line begins, if no byte was lost; NULL: not followed */
};
/* The raw request target: absolute path, printable ASCII, whole percent escapes, no %00; or "*". */
bool http_guard_target(const char *target);
/* Length of a field's value without the blanks at its end, which are no part of it (RFC 9110
 * section 5.5), but in the library's. */
size_t http_guard_value(const char *text, size_t n);
/* False for a "*", the server as a whole, of a method other than OPTIONS (RFC 9112 3.2.4). */
bool http_guard_asterisk(const char *method, const char *path);
void http_guard_header(struct http_guard *guard, const char *name, size_t n_name, const char *value,
                       size_t n_value);
/* libmicrohttpd 0.9.75 ends a line's strings at a NUL, joins folded lines and takes a line without
 * a name for the end of the header; what it has lost then shows as a gap between the strings, which
 * it leaves where they came in. To be asked before the headers and after them, or not at all. */
void http_guard_start(struct http_guard *guard, const char *method, const char *target,
                      const char *target_end, const char *version);
void http_guard_end(struct http_guard *guard, const char *end);
/* After all headers: the first fault found, NULL for a request that may pass. */
const char *http_guard_verdict(const struct http_guard *guard, const char *version);

/* ---- http_tls.c ------------------------------------------------------------------------------ */
#define HTTP_TLS_OPTIONS 3
/* What the library is to be started with, ended by MHD_OPTION_END. */
void http_tls_options(bool on, struct MHD_OptionItem items[HTTP_TLS_OPTIONS]);
/* For an answer that the library does not write. */
bool http_tls_send(struct MHD_Connection *mhd, const void *bytes, size_t n);

/* ---- http_exchange.c ------------------------------------------------------------------------- */
/* NULL when out of memory. method and path are borrowed from the library. */
struct http_exchange_full *http_exchange_new(struct http_conn *conn, const char *method,
                                             const char *path);
void http_exchange_free(struct http_exchange_full *exchange);
/* How much memory more the body needs at least for n bytes more. */
size_t http_exchange_growth(const struct http_exchange_full *exchange, size_t n);
/* Takes more than that while there is room among all uploads. False when out of memory. */
bool http_exchange_append(struct http_exchange_full *exchange, const char *bytes, size_t n);
/* Gives the reply to the library; only inside the access handler. */
enum MHD_Result http_exchange_queue(struct http_exchange_full *exchange);
/* Writes an answer to the socket where the library takes none: in the middle of a header
 * (exchange NULL) or of a body. The connection must be closed after it. */
void http_exchange_answer_raw(struct http_conn *conn, const struct problem *problem);

/* ---- http_header.c --------------------------------------------------------------------------- */
/* Parameters of a target's query, at least 1. */
int http_header_parameters(const char *target);
/* Bytes of the library's memory for the connection that the request's header takes. */
size_t http_header_bytes(const struct http_conn *conn);
/* Refuses what breaks HTTP or announces too much; `has_body` says whether more is to come. Else the
 * handler has it. */
void http_header_check(struct http_exchange_full *exchange, const char *version, bool *has_body);
/* Memory that all bodies together may still take. */
size_t http_uploads_left(const struct http *http);
void http_uploads_full(const struct http *http, struct problem *problem);

/* ---- http_memory.c --------------------------------------------------------------------------- */
/* A new connection has bytes to read, and none was read yet. */
void http_memory_peek(struct http_conn *conn);
/* Its first request is there; method is where the library has it. */
void http_memory_found(struct http_conn *conn, const char *method);
/* Gives back what an idle connection does not need. False when there is nothing to give. */
bool http_memory_release(struct http_conn *conn);

/* ---- http_conn.c ----------------------------------------------------------------------------- */
/* NULL when out of memory. */
struct http_conn *http_conn_new(struct http *http, struct MHD_Connection *mhd);
void http_conn_free(struct http_conn *conn);
void http_conn_enter(struct http_conn *conn, enum http_conn_state state);
/* Ends it: the library notices the shutdown as it would notice the client leaving, and cleans up.
 */
void http_conn_abort(struct http_conn *conn);
/* Suspends inside the access handler and watches whether the client leaves. */
void http_conn_suspend(struct http_conn *conn);
void http_conn_resume(struct http_conn *conn);
/* Has the library run in this turn of the loop. */
void http_wake(struct http *http);
/* Keeps the socket open for a while after the library has closed it. */
void http_conn_linger(struct http_conn *conn);
void http_conn_linger_end(struct http_linger *linger);
/* Handles what happened on watch_fd. Also before the library reads, since a first byte that it
 * has taken is no event any more. */
void http_conn_look(struct http *http);
/* Deadlines may have passed. */
void http_conn_on_sweep(uv_timer_t *timer);

#endif
