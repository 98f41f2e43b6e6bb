/* The HTTP front over real sockets: a server on its own thread and loop, raw bytes from the test.
 *
 * Paths of its handlers: /echo answers with the body, /head answers at header time, /wait never
 * answers before the client has left. Nothing sleeps: the client side blocks in recv, with a limit
 * that only a failing test reaches. Failures fail the test.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_HTTP_H
#define RESNETD_TESTS_SUPPORT_HTTP_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <uv.h>

#include "server/http.h"

#define HTTP_TEST_ANSWER_BYTES 131072

struct http_test {
    uv_loop_t loop;
    uv_async_t stop, drain; /* the second for the test to send */
    struct http *http;
    pthread_t thread;
    sem_t waiting, gone, completed; /* a request at /wait; its client has left; any is done */
    int last_status;
    char last_id[HTTP_ID_SIZE];
    char last_query[64];
};

/* Limits that no test reaches, on a free port. */
extern const struct http_options http_usual;

/* To be ended by http_test_finish, which frees it and expects that no handle was left. */
struct http_test *http_test_start(const struct http_options *options);
void http_test_finish(struct http_test *server);

/* A receive limit on a socket of the test's own; returns it. */
int http_test_limit(int fd);
int http_test_dial(const struct http_test *server);
void http_test_say(int fd, const char *text);

/* One answer, up to the end of its body by Content-Length, into `answer`, which is returned. */
const char *http_test_hear(int fd, char answer[HTTP_TEST_ANSWER_BYTES]);
bool http_test_is_closed(int fd);
int http_test_status(const char *answer); /* 0: it is none */

/* Sends on a connection of its own; the answer must have this status and end the connection when it
 * says so. */
void http_test_expect(struct http_test *server, const char *request, int status,
                      const char *contains);

#endif
