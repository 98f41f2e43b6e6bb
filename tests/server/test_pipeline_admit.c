/* Who is taken, and who is not: pictures, the engine alone, uploads that took all of their time;
 * and who leaves at moments that are hard to meet.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "server/batcher.h"
#include "tests/support_gate.h"

#define MAX_PREVIEWS 8 /* requests that keep one, of 3 MB each */

TestSuite(pipeline_admit, .init = gate_start, .fini = gate_end, .timeout = 120);

static int n_called;

static void wait_and_keep_preview(struct request *request)
{
    gate_wait_on_worker();
    cr_assert_eq(request_images(request, 1), RN_OK);
    request->keep_preview = true;
}

/* One is known to want a picture only when its body has been read; then the seats are taken. */
Test(pipeline_admit, few_pictures_are_made_at_a_time)
{
    struct request *engine = gate_hold_engine(), *body = gate_make("a", 0);
    struct request *holders[GATE_WORKERS], *pictures[MAX_PREVIEWS + 1];
    gate_hold_workers(holders);
    body->parse = wait_and_keep_preview;
    pipeline_submit(gate.pipeline, body);
    for (int i = 0; i <= MAX_PREVIEWS; i++) {
        pictures[i] = gate_make("a", 1);
        pictures[i]->keep_preview = true;
        pipeline_submit(gate.pipeline, pictures[i]);
        cr_assert_eq(pictures[i]->problem.type,
                     i < MAX_PREVIEWS ? PROBLEM_NONE : PROBLEM_ENGINE_BUSY, "%d", i);
    }
    cr_assert_gt(pictures[MAX_PREVIEWS]->problem.retry_after_ms, 0);
    cr_assert_eq(gate.n_done, 1, "refused inside the call");
    for (int i = 0; i < GATE_WORKERS + 1; i++) /* the third for the body */
        gate_let_worker_go();
    gate_run_until_done(1 + GATE_WORKERS + 1);
    cr_assert_eq(body->problem.type, PROBLEM_ENGINE_BUSY);
    gate_let_engine_go();
    gate_run_until_done(1 + GATE_WORKERS + 1 + 1 + MAX_PREVIEWS);
    for (int i = 0; i < MAX_PREVIEWS; i++) {
        cr_assert_eq(pictures[i]->images->problem.type, PROBLEM_NONE);
        cr_assert_not_null(pictures[i]->images->preview);
    }
    struct request *next = gate_make("a", 1);
    next->keep_preview = true;
    pipeline_submit(gate.pipeline, next);
    gate_run_until_done(1 + GATE_WORKERS + 1 + 1 + MAX_PREVIEWS + 1);
    cr_assert_eq(next->problem.type, PROBLEM_NONE, "seats are free again");
    cr_assert_not_null(next->images->preview);
    gate_free_holders(holders);
    for (int i = 0; i <= MAX_PREVIEWS; i++)
        request_free(pictures[i]);
    request_free(engine);
    request_free(body);
    request_free(next);
}

Test(pipeline_admit, who_wants_the_engine_alone_is_refused_by_a_busy_server)
{
    struct problem problem;
    batcher_learn_capacity(gate.model->batcher, 1, 10 * GATE_MINUTE_NS);
    cr_assert(pipeline_admit_alone(gate.pipeline, &problem));
    pipeline_offered(gate.pipeline, gate.model);
    cr_assert_gt(pipeline_saturation(gate.pipeline), 1);
    cr_assert_not(pipeline_admit_alone(gate.pipeline, &problem));
    cr_assert_eq(problem.type, PROBLEM_ENGINE_BUSY);
    cr_assert_gt(problem.retry_after_ms, 0);
}

Test(pipeline_admit, an_upload_may_take_all_of_the_time)
{
    struct request *late = gate_make("a", 1);
    late->deadline_ns = late->received_ns;
    pipeline_submit(gate.pipeline, late);
    cr_assert_eq(gate.n_done, 1);
    cr_assert_eq(late->problem.type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_str_eq(late->problem.members[0].text, "receive");
    request_free(late);
}

static void compute_never(struct request *request, struct rn_session *session)
{
    (void)request;
    (void)session;
    n_called++;
}

static void wait_and_fail(struct request *request)
{
    gate_wait_on_worker();
    problem_set(&request->problem, PROBLEM_BAD_JSON, "no");
}

/* Decoded, it waits as long as somebody else is expected. */
Test(pipeline_admit, who_wants_the_engine_alone_does_not_get_it_too_late)
{
    struct request *alone = gate_make("a", 1), *other = gate_make("b", 0);
    alone->alone = compute_never;
    other->parse = wait_and_fail;
    pipeline_submit(gate.pipeline, alone);
    pipeline_submit(gate.pipeline, other);
    while (alone->images->state != REQUEST_QUEUED)
        (void)uv_run(&gate.loop, UV_RUN_ONCE);
    alone->deadline_ns = alone->received_ns;
    gate_let_worker_go();
    gate_run_until_done(2);
    cr_assert_eq(alone->images->problem.type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_str_eq(alone->images->problem.members[0].text, "queue");
    cr_assert_eq(n_called, 0);
    request_free(alone);
    request_free(other);
}

static void render_never(struct request *request)
{
    (void)request;
    n_called++;
}

/* It has its scores, and all workers are busy with others. */
Test(pipeline_admit, who_waits_for_a_picture_may_leave)
{
    struct request *engine = gate_hold_engine(), *leaver = gate_make("a", 1),
                   *holders[GATE_WORKERS];
    leaver->render = render_never;
    pipeline_submit(gate.pipeline, leaver);
    gate_run_until_ready(1);
    gate_hold_workers(holders);
    gate_let_engine_go();
    while (leaver->n_finished == 0)
        (void)uv_run(&gate.loop, UV_RUN_ONCE);
    const int n_before = gate.n_done;
    cr_assert_eq(gate_fate(leaver)->n_done, 0);
    pipeline_cancel(gate.pipeline, leaver);
    cr_assert_eq(gate_fate(leaver)->n_done, 1);
    cr_assert_eq(gate.n_done, n_before + 1);
    cr_assert_eq(gate_fate(leaver)->in_flight, GATE_WORKERS);
    for (int i = 0; i < GATE_WORKERS; i++)
        gate_let_worker_go();
    gate_run_until_done(2 + GATE_WORKERS);
    cr_assert_eq(n_called, 0);
    gate_free_holders(holders);
    request_free(engine);
    request_free(leaver);
}

/* Its body is being read, which is not interrupted; then nothing more is done for it. */
Test(pipeline_admit, who_leaves_while_its_body_is_read_is_done_once_after_that)
{
    struct request *leaver = gate_make("a", 0);
    leaver->parse = wait_and_keep_preview;
    pipeline_submit(gate.pipeline, leaver);
    cr_assert(leaver->on_worker);
    pipeline_cancel(gate.pipeline, leaver);
    cr_assert_eq(gate.n_done, 0);
    gate_let_worker_go();
    gate_run_until_done(1);
    cr_assert_eq(leaver->problem.type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_eq(leaver->n_started, 0);
    request_free(leaver);
}
