/* The real binary as a child process, and a client for it. Everything fails the test by itself.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_E2E_SUPPORT_SERVER_H
#define RESNETD_TESTS_E2E_SUPPORT_SERVER_H

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- processes ------------------------------------------------------------------------------- */

struct program {
    int pid, stderr_fd, stdout_fd;
    char *stderr_text, *stdout_text; /* what was read so far, or all after program_wait() */
    size_t n_stderr, n_stdout;
};

/* Starts $RESNETD_BINARY with the words of `args` (split at spaces; no quoting) and, besides PATH
 * and HOME, only the environment in `env` (split the same way, NULL for none). `input` becomes its
 * standard input, NULL for none. It dies with the test. */
void program_start(struct program *program, const char *args, const char *env, const char *input);
/* Reads both outputs to their ends and returns the exit status, or 128 + signal. */
int program_wait(struct program *program);
void program_done(struct program *program);
/* All three for a short run: the exit status; outputs stay until program_done(). */
int program_run(struct program *program, const char *args);

/* ---- the server ------------------------------------------------------------------------------ */

struct server {
    struct program program;
    char url[128]; /* "http://127.0.0.1:PORT", "https:" with --tls-certificate */
    int port;
    char authorities[512]; /* file of certificates that the client trusts, "" for its usual ones */
};

/* `serve --listen 127.0.0.1:0` with more options; returns when it is ready. */
void server_start(struct server *server, const char *options);
/* SIGTERM; must exit with 0. */
void server_stop(struct server *server);
/* The value of a metric's series as in GET /metrics, "name{labels}"; -1 where it is not. */
double server_metric(const struct server *server, const char *series);

/* ---- the client ------------------------------------------------------------------------------ */

struct reply {
    long status;
    char *body, *headers; /* NUL-terminated */
    size_t n, n_headers;
    json_t *json; /* of a JSON body, else NULL */
};

struct ask {
    const char *method; /* NULL: GET without a body, POST with one */
    const char *path;
    const char *headers[4];
    const void *body;
    size_t n;
    bool chunked;
    curl_mime *mime; /* freed by ask() */
};

/* A curl handle for the request; `reply` is filled in when it was performed, then reply_parse. */
CURL *ask_prepare(const struct server *server, const struct ask *ask, struct reply *reply);
void ask_finish(CURL *curl, struct reply *reply);
void ask(const struct server *server, const struct ask *ask, struct reply *reply);
/* GET, or POST of a file's bytes. */
void ask_get(const struct server *server, const char *path, struct reply *reply);
void ask_file(const struct server *server, const char *path, const char *file, struct reply *reply);
/* POSTs `format` to /classify as JSON, with PHOTO's base64 in place of %s. */
void ask_json(const struct server *server, const char *format, struct reply *reply);
void reply_done(struct reply *reply);
/* A response header's value in a static buffer, NULL without it. */
const char *reply_header(const struct reply *reply, const char *name);
/* Fails unless it is a well-formed application/problem+json of this status and type. */
void reply_is_problem(const struct reply *reply, int status, const char *slug);

/* A whole file; free() it. */
char *read_file(const char *path, size_t *n);
char *to_base64(const void *bytes, size_t n);

#define PHOTO "tests/golden/images/baseline-420.jpg"

#endif
