/* Requests at the same time share batches, and none can tell by its scores.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/support_server.h"

#define N 64

TestSuite(e2e_batching, .timeout = 300);

struct crowd {
    CURLM *multi;
    CURL *curls[N];
    struct reply replies[N];
    char *bytes;
};

/* N requests for one photograph, ready to go. Each has a byte of its own behind the image, since
 * the same file in flight would be computed once. */
static void crowd_start(struct crowd *crowd, const struct server *server)
{
    size_t n;
    char *bytes = read_file(PHOTO, &n);
    crowd->bytes = malloc(N * (n + 1));
    cr_assert_not_null(crowd->bytes);
    crowd->multi = curl_multi_init();
    for (int i = 0; i < N; i++) {
        char *file = crowd->bytes + (size_t)i * (n + 1);
        memcpy(file, bytes, n);
        file[n] = (char)i;
        crowd->curls[i] =
            ask_prepare(server, &(struct ask){.path = "/classify", .body = file, .n = n + 1},
                        &crowd->replies[i]);
        cr_assert_eq(curl_multi_add_handle(crowd->multi, crowd->curls[i]), CURLM_OK);
    }
    free(bytes);
}

/* Goes on until at least so many are done; how many are. */
static int crowd_run(struct crowd *crowd, int enough)
{
    int running = N;
    do {
        cr_assert_eq(curl_multi_perform(crowd->multi, &running), CURLM_OK);
        if (N - running < enough)
            (void)curl_multi_poll(crowd->multi, NULL, 0, 1000, NULL);
    } while (N - running < enough);
    return N - running;
}

static void crowd_end(struct crowd *crowd)
{
    for (int i = 0; i < N; i++) {
        (void)curl_multi_remove_handle(crowd->multi, crowd->curls[i]);
        ask_finish(crowd->curls[i], &crowd->replies[i]);
    }
    (void)curl_multi_cleanup(crowd->multi);
    free(crowd->bytes);
}

Test(e2e_batching, a_crowd_shares_batches_and_gets_what_each_would_get_alone)
{
    struct server server;
    struct crowd crowd;
    struct reply alone;
    server_start(&server, "--batch-window-ms 100 --max-batch 8");
    ask_file(&server, "/classify", PHOTO, &alone);
    const json_t *want = json_object_get(alone.json, "predictions");
    cr_assert_not_null(want);
    crowd_start(&crowd, &server);
    (void)crowd_run(&crowd, N);
    crowd_end(&crowd);
    json_int_t largest = 0;
    for (int i = 0; i < N; i++) {
        const struct reply *reply = &crowd.replies[i];
        cr_assert_eq(reply->status, 200, "%s", reply->body);
        cr_assert(json_equal(json_object_get(reply->json, "predictions"), want), "%s", reply->body);
        const json_int_t size =
            json_integer_value(json_object_get(json_object_get(reply->json, "batch"), "size"));
        cr_assert(size >= 1 && size <= 8, "%s", reply->body);
        largest = size > largest ? size : largest;
        reply_done(&crowd.replies[i]);
    }
    cr_assert_gt(largest, 1, "no two of %d requests met in a batch", N);
    cr_assert_eq(server_metric(&server, "resnetd_images_total{outcome=\"ok\",reason=\"\"}"), N + 1);
    cr_assert_lt(server_metric(&server, "resnetd_batch_size_count"), N + 1);
    cr_assert_eq(server_metric(&server, "resnetd_batch_size_sum"), N + 1);
    cr_assert_eq(server_metric(&server, "resnetd_in_flight_requests"), 0);
    cr_assert_eq(server_metric(&server, "resnetd_queue_images"), 0);
    reply_done(&alone);
    server_stop(&server);
}

Test(e2e_batching, sigterm_loses_nothing_that_was_accepted)
{
    struct server server;
    struct crowd crowd;
    server_start(&server, "");
    crowd_start(&crowd, &server);
    (void)crowd_run(&crowd, 1);
    cr_assert_eq(kill(server.program.pid, SIGTERM), 0);
    (void)crowd_run(&crowd, N);
    crowd_end(&crowd);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(crowd.replies[i].status, 200, "%d: %ld %s", i, crowd.replies[i].status,
                     crowd.replies[i].body);
        reply_done(&crowd.replies[i]);
    }
    cr_assert_eq(program_wait(&server.program), 0, "%s", server.program.stderr_text);
    program_done(&server.program);
}
