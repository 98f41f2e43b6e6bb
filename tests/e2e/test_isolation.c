/* Decoding in helper processes, seen from outside: what their deaths cost the clients.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/support_server.h"
#include "tests/support_process.h"

TestSuite(e2e_isolation, .timeout = 300);

enum { N_CLIENTS = 6, N_HELPERS = 2 };

static void find_helpers(const struct server *server, pid_t helpers[N_HELPERS])
{
    pid_t zygote;
    do /* a new one may be on its way */
        cr_assert_eq(process_children(server->program.pid, &zygote, 1), 1);
    while (process_children(zygote, helpers, N_HELPERS) < N_HELPERS);
}

/* One request per client at the same time, each with a file of its own (the photo and a mark behind
 * it, or it would be computed once for all), one helper killed among them; returns how many failed.
 */
static int kill_one_among(const struct server *server, const char *photo, size_t n_photo,
                          pid_t victim, int number)
{
    static char files[N_CLIENTS][1 << 16];
    cr_assert_lt(n_photo, sizeof files[0]);
    struct reply replies[N_CLIENTS];
    CURL *curls[N_CLIENTS];
    CURLM *multi = curl_multi_init();
    int n_running = N_CLIENTS, n_failed = 0;
    for (int i = 0; i < N_CLIENTS; i++) {
        memcpy(files[i], photo, n_photo);
        files[i][n_photo] = (char)i;
        const struct ask request = {.path = "/classify", .body = files[i], .n = n_photo + 1};
        curls[i] = ask_prepare(server, &request, &replies[i]);
        (void)curl_multi_add_handle(multi, curls[i]);
    }
    for (bool killed = false; n_running > 0; killed = true) {
        cr_assert_eq(curl_multi_perform(multi, &n_running), CURLM_OK);
        if (!killed)
            (void)kill(victim, number);
        (void)curl_multi_wait(multi, NULL, 0, 100, NULL);
    }
    for (int i = 0; i < N_CLIENTS; i++) {
        (void)curl_multi_remove_handle(multi, curls[i]);
        ask_finish(curls[i], &replies[i]);
        if (replies[i].status != 200) {
            n_failed++;
            reply_is_problem(&replies[i], number == SIGABRT ? 422 : 500,
                             number == SIGABRT ? "image-breaks-decoder" : "internal");
        }
        reply_done(&replies[i]);
    }
    (void)curl_multi_cleanup(multi);
    return n_failed;
}

Test(e2e_isolation, a_dying_helper_costs_one_request_at_most)
{
    struct server server;
    size_t n;
    server_start(&server, "--decode-workers 2 --timeout-ms 60000");
    char *photo = read_file("tests/golden/images/crop-wide.png", &n);
    const struct ask request = {.path = "/classify", .body = photo, .n = n};
    for (int round = 0; round < 40; round++) {
        pid_t helpers[N_HELPERS];
        find_helpers(&server, helpers);
        cr_expect_leq(kill_one_among(&server, photo, n, helpers[round % N_HELPERS],
                                     round % 4 < 2 ? SIGKILL : SIGABRT),
                      1);
    }
    struct reply reply;
    for (int i = 0; i < 20; i++) { /* each slot has learned of the last death */
        ask(&server, &request, &reply);
        cr_expect_eq(reply.status, 200);
        reply_done(&reply);
    }
    cr_expect_leq(server_metric(&server, "resnetd_decode_helper_deaths_total"), 40);
    cr_expect_geq(server_metric(&server, "resnetd_decode_helper_deaths_total"), 38);
    free(photo);
    server_stop(&server);
}

static void expect_name(pid_t pid, const char *expected)
{
    char path[64], name[32] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f);
    (void)!fgets(name, sizeof name, f);
    (void)fclose(f);
    name[strcspn(name, "\n")] = '\0';
    cr_expect_str_eq(name, expected);
}

Test(e2e_isolation, ps_tells_what_a_process_is)
{
    struct server server;
    struct reply reply;
    pid_t zygote, helper;
    server_start(&server, "--decode-workers 1");
    ask_file(&server, "/classify", PHOTO, &reply); /* the helper is ready, then */
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    cr_assert_eq(process_children(server.program.pid, &zygote, 1), 1);
    cr_assert_eq(process_children(zygote, &helper, 1), 1);
    expect_name(zygote, "resnetd-zygote");
    expect_name(helper, "resnetd-decode");
    server_stop(&server);
}

Test(e2e_isolation, nothing_is_left_of_the_helpers_of_a_killed_daemon)
{
    struct server server;
    pid_t helpers[N_HELPERS];
    server_start(&server, "--decode-workers 2");
    find_helpers(&server, helpers);
    cr_assert_eq(kill(server.program.pid, SIGKILL), 0);
    for (int i = 0; i < N_HELPERS; i++)
        while (kill(helpers[i], 0) == 0)
            ;
    cr_expect_eq(program_wait(&server.program), 128 + SIGKILL);
    program_done(&server.program);
}

Test(e2e_isolation, threads_decode_where_the_setting_says_so)
{
    struct server server;
    struct reply reply;
    pid_t children[1];
    server_start(&server, "--decode-isolation thread");
    cr_expect_eq(process_children(server.program.pid, children, 1), 0);
    ask_file(&server, "/classify", PHOTO, &reply);
    cr_expect_eq(reply.status, 200);
    reply_done(&reply);
    server_stop(&server);
}
