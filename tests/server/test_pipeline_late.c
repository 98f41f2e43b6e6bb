/* Who is told that it will not be in time: while it waits for a worker, and while it waits for the
 * engine.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "server/batcher.h"
#include "tests/support_gate.h"

#define ANSWER_MS 6 /* what admission.c keeps of a deadline before it has seen an answer */

TestSuite(pipeline_late, .init = gate_start, .fini = gate_end, .timeout = 120);

static int n_parsed, n_computed;

/* Its deadline passed a nanosecond after it had been taken, which was to take no longer. Only while
 * no worker has it. */
static void make_late(struct request *request)
{
    request->predicted_ns = 1;
    request->deadline_ns = request->admitted_ns + 1;
}

/* ---- waiting for a worker ---------------------------------------------------------------------
 */

static void parse_never(struct request *request)
{
    (void)request;
    n_parsed++;
}

Test(pipeline_late, no_worker_is_troubled_with_who_cannot_be_in_time)
{
    struct request *body = gate_make("a", 0), *images = gate_make("a", 3),
                   *good = gate_make("a", 1);
    struct request *holders[GATE_WORKERS];
    gate_hold_workers(holders);
    body->parse = parse_never;
    pipeline_submit(gate.pipeline, body);
    pipeline_submit(gate.pipeline, images);
    pipeline_submit(gate.pipeline, good);
    make_late(body);
    make_late(images);
    gate_let_worker_go();
    gate_run_until_done(3);
    for (int i = 0; i < 3; i++) {
        const struct problem *problem = &images->images[i].problem;
        cr_assert_eq(problem->type, PROBLEM_DEADLINE_UNMEETABLE);
        cr_assert_eq(gate_number(problem, "predicted_ms"), ANSWER_MS);
        cr_assert_eq(gate_number(problem, "deadline_ms"), 0);
        cr_assert_eq(problem->retry_after_ms, ANSWER_MS);
        cr_assert_eq(images->images[i].decode_start_ns, 0);
    }
    cr_assert_eq(body->problem.type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_eq(body->problem.retry_after_ms, ANSWER_MS);
    cr_assert_eq(n_parsed, 0);
    /* Behind the first holder, in their order: what was left of the others each time. */
    cr_assert_eq(gate_fate(body)->place, 2);
    cr_assert_eq(gate_fate(body)->in_flight, 3);
    cr_assert_eq(gate_fate(body)->queued, 1 + 3 + 1);
    cr_assert_eq(gate_fate(body)->model_images, 3 + 1);
    cr_assert_eq(gate_fate(images)->place, 3);
    cr_assert_eq(gate_fate(images)->in_flight, 2);
    cr_assert_eq(gate_fate(images)->queued, 2);
    cr_assert_eq(gate_fate(images)->model_images, 1);
    gate_let_worker_go();
    gate_run_until_done(5);
    cr_assert_eq(good->images->problem.type, PROBLEM_NONE);
    cr_assert_eq(
        gate_metric("resnetd_images_total{outcome=\"rejected\",reason=\"deadline-unmeetable\"}"),
        3 + 1, "who was not parsed counts as one");
    cr_assert_float_eq(gate_metric("resnetd_prediction_margin_ratio"), 1.1 + 0.04 * 0.997, 1e-6,
                       "one delay teaches once, however many it hits");
    gate_free_holders(holders);
    request_free(images);
    request_free(body);
    request_free(good);
}

Test(pipeline_late, the_run_that_is_ahead_counts_in_the_queue_for_workers)
{
    struct request *hasty = gate_make("a", 1), *holders[GATE_WORKERS];
    gate_hold_workers(holders);
    hasty->deadline_ns = uv_hrtime() + 60 * GATE_MINUTE_NS;
    pipeline_submit(gate.pipeline, hasty);
    batcher_learn(gate.model->batcher, 1, 90 * GATE_MINUTE_NS);
    gate_let_worker_go();
    gate_run_until_done(2);
    const struct problem *problem = &hasty->images->problem;
    cr_assert_eq(problem->type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_eq(gate_number(problem, "predicted_ms"), 5400000 + ANSWER_MS);
    cr_assert_gt(gate_number(problem, "deadline_ms"), 0);
    cr_assert_leq(gate_number(problem, "deadline_ms"), 3600000);
    cr_assert_eq(hasty->images->decode_start_ns, 0);
    gate_let_worker_go();
    gate_run_until_done(3);
    gate_free_holders(holders);
    request_free(hasty);
}

Test(pipeline_late, a_lone_request_is_tried_whatever_a_run_is_said_to_take)
{
    batcher_learn(gate.model->batcher, 1, 1000); /* the fastest that was ever seen */
    while (batcher_cost_ns(gate.model->batcher, 1) < 90 * GATE_MINUTE_NS)
        batcher_learn(gate.model->batcher, 1, 400 * GATE_MINUTE_NS);
    struct request *lone = gate_make("a", 1);
    lone->deadline_ns = uv_hrtime() + 60 * GATE_MINUTE_NS;
    pipeline_submit(gate.pipeline, lone);
    gate_run_until_done(1);
    cr_assert_eq(lone->images->problem.type, PROBLEM_NONE, "%s", lone->images->problem.detail);
    request_free(lone);
}

/* It has one image on a worker and waits with the other: the worker will tell that one. */
Test(pipeline_late, who_has_begun_stays_in_the_queue_for_workers)
{
    struct request *begun = gate_make("a", 2), *holders[GATE_WORKERS];
    gate_hold_workers(holders);
    begun->deadline_ns = uv_hrtime() + 60 * GATE_MINUTE_NS;
    pipeline_submit(gate.pipeline, begun);
    gate_let_worker_go();
    gate_run_until_done(1);
    cr_assert_eq(begun->n_started, 1);
    batcher_learn(gate.model->batcher, 1, 90 * GATE_MINUTE_NS);
    gate_run_until_done(2);
    cr_assert_eq(begun->n_finished, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(begun->images[i].problem.type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_gt(begun->images[1].decode_start_ns, 0);
    gate_let_worker_go();
    gate_run_until_done(3);
    gate_free_holders(holders);
    request_free(begun);
}

static void wait_to_render(struct request *request)
{
    (void)request;
    gate_wait_on_worker();
}

static void compute_never(struct request *request, struct rn_session *session)
{
    (void)request;
    (void)session;
    n_computed++;
}

/* It was never among the images that are expected. */
Test(pipeline_late, who_wants_the_engine_alone_is_told_by_a_worker)
{
    struct request *other = gate_make("b", 1), *alone = gate_make("a", 1);
    other->render = wait_to_render;
    pipeline_submit(gate.pipeline, other);
    while (other->n_finished == 0 || !other->on_worker)
        (void)uv_run(&gate.loop, UV_RUN_ONCE);
    alone->alone = compute_never;
    alone->deadline_ns = uv_hrtime();
    pipeline_submit(gate.pipeline, alone);
    gate_run_until_done(1);
    cr_assert_eq(alone->images->problem.type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_eq(gate_fate(alone)->in_flight, 1);
    cr_assert_eq(n_computed, 0);
    gate_let_worker_go();
    gate_run_until_done(2);
    cr_assert_eq(other->images->problem.type, PROBLEM_NONE);
    request_free(other);
    request_free(alone);
}

Test(pipeline_late, followers_of_who_is_dropped_go_on_by_themselves)
{
    struct request *leader = gate_make("a", 1), *follower = gate_make("a", 1),
                   *holders[GATE_WORKERS];
    gate_hold_workers(holders);
    follower->images->bytes = leader->images->bytes;
    pipeline_submit(gate.pipeline, leader);
    pipeline_submit(gate.pipeline, follower);
    cr_assert_eq(follower->leader, leader);
    make_late(leader);
    gate_let_worker_go();
    gate_let_worker_go();
    gate_run_until_done(4);
    cr_assert_eq(leader->images->problem.type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_eq(follower->images->problem.type, PROBLEM_NONE);
    cr_assert_eq(follower->source, REQUEST_COMPUTED);
    gate_free_holders(holders);
    request_free(leader);
    request_free(follower);
}

/* ---- waiting for the engine -------------------------------------------------------------------
 */

Test(pipeline_late, whose_deadline_has_passed_takes_no_place_in_a_batch)
{
    struct request *holder = gate_hold_engine(), *late[2], *good = gate_make("a", 1);
    for (int i = 0; i < 2; i++) {
        late[i] = gate_make("a", 1 + i);
        pipeline_submit(gate.pipeline, late[i]);
    }
    pipeline_submit(gate.pipeline, good);
    gate_run_until_ready(4);
    make_late(late[0]);
    make_late(late[1]);
    gate_let_engine_go();
    gate_run_until_done(4);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k <= i; k++) {
            const struct problem *problem = &late[i]->images[k].problem;
            cr_assert_eq(problem->type, PROBLEM_DEADLINE_EXCEEDED);
            cr_assert_str_eq(problem->members[0].text, "queue");
            cr_assert_eq(late[i]->images[k].batch_size, 0);
        }
        /* All of them leave the batcher at once, then each request ends. */
        cr_assert_eq(gate_fate(late[i])->queued, 1);
        cr_assert_eq(gate_fate(late[i])->model_images, 1);
        cr_assert_lt(gate_fate(late[i])->place, gate_fate(good)->place);
    }
    cr_assert_eq(gate_fate(late[0])->in_flight + gate_fate(late[1])->in_flight, 2 + 1);
    cr_assert_eq(good->images->problem.type, PROBLEM_NONE);
    cr_assert_eq(good->images->batch_size, 1);
    cr_assert_eq(
        gate_metric("resnetd_images_total{outcome=\"expired\",reason=\"deadline-exceeded\"}"), 3);
    cr_assert_float_eq(gate_metric("resnetd_prediction_margin_ratio"), 1.1 + 0.04 * 0.997, 1e-6,
                       "one delay teaches once, however many it hits");
    request_free(holder);
    request_free(good);
    for (int i = 0; i < 2; i++)
        request_free(late[i]);
}

Test(pipeline_late, who_has_less_time_than_a_run_takes_is_told_while_there_is_some)
{
    struct request *holder = gate_hold_engine(), *hasty = gate_make("a", 2),
                   *good = gate_make("a", 1);
    hasty->deadline_ns = uv_hrtime() + 60 * GATE_MINUTE_NS;
    pipeline_submit(gate.pipeline, hasty);
    pipeline_submit(gate.pipeline, good);
    gate_run_until_ready(3);
    batcher_learn(gate.model->batcher, 1, 90 * GATE_MINUTE_NS);
    gate_let_engine_go();
    gate_run_until_done(3);
    for (int i = 0; i < 2; i++) {
        const struct problem *problem = &hasty->images[i].problem;
        cr_assert_eq(problem->type, PROBLEM_DEADLINE_UNMEETABLE);
        cr_assert_eq(gate_number(problem, "predicted_ms"), 5400000 + ANSWER_MS);
        cr_assert_gt(gate_number(problem, "deadline_ms"), 0);
        cr_assert_leq(gate_number(problem, "deadline_ms"), 3600000);
    }
    cr_assert_eq(gate_fate(hasty)->in_flight, 1);
    cr_assert_eq(gate_fate(hasty)->queued, 1);
    cr_assert_eq(gate_fate(hasty)->model_images, 1);
    cr_assert_eq(good->images->problem.type, PROBLEM_NONE);
    request_free(holder);
    request_free(hasty);
    request_free(good);
}

/* There was time for a run, but not for one behind another. */
Test(pipeline_late, who_would_be_too_late_behind_a_batch_is_told_when_that_starts)
{
    struct request *holder = gate_hold_engine(), *batch = gate_make("a", GATE_MAX_BATCH),
                   *behind = gate_make("a", 1);
    pipeline_submit(gate.pipeline, batch);
    gate_run_until_ready(GATE_MAX_BATCH);
    behind->deadline_ns = uv_hrtime() + 70 * GATE_MINUTE_NS;
    pipeline_submit(gate.pipeline, behind);
    gate_run_until_ready(GATE_MAX_BATCH + 1);
    batcher_learn(gate.model->batcher, GATE_MAX_BATCH,
                  60 * GATE_MINUTE_NS); /* hence one image 15 */
    gate_let_engine_go();
    gate_run_until_done(3);
    const struct problem *problem = &behind->images->problem;
    cr_assert_eq(problem->type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_eq(gate_number(problem, "predicted_ms"), (60 + 15) * 60000 + ANSWER_MS);
    cr_assert_lt(gate_fate(behind)->place, gate_fate(batch)->place);
    cr_assert_eq(gate_fate(behind)->in_flight, 1);
    cr_assert_eq(gate_fate(behind)->queued, 0);
    cr_assert_eq(gate_fate(behind)->model_images, 0);
    cr_assert_eq(batch->images->problem.type, PROBLEM_NONE);
    cr_assert_eq(batch->images->batch_size, GATE_MAX_BATCH);
    request_free(holder);
    request_free(batch);
    request_free(behind);
}

static void note_and_free(struct request *request)
{
    gate_note(request);
    request_free(request);
}

/* The next one in turn is served; AddressSanitizer would tell of a look at what is gone. */
Test(pipeline_late, a_model_may_go_with_the_last_who_is_late)
{
    struct request *holder = gate_hold_engine(), *late = gate_make("a", 2),
                   *good = gate_make("b", 1);
    const struct gate_fate *fate = gate_fate(late);
    late->done = note_and_free;
    pipeline_submit(gate.pipeline, late);
    gate_run_until_ready(2);
    pipeline_submit(gate.pipeline, good);
    make_late(late);
    cr_assert(registry_remove(gate.registry, "a"));
    gate_let_engine_go();
    gate_run_until_done(3);
    cr_assert_eq(fate->type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_eq(fate->model_images, 0);
    cr_assert_eq(good->images->problem.type, PROBLEM_NONE);
    request_free(holder);
    request_free(good);
}

Test(pipeline_late, scores_that_come_too_late_are_none)
{
    struct request *late = gate_make("a", 1);
    pipeline_submit(gate.pipeline, late);
    while (late->images->state != REQUEST_RUNNING)
        (void)uv_run(&gate.loop, UV_RUN_ONCE);
    make_late(late);
    gate_run_until_done(1);
    cr_assert_eq(late->images->problem.type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_str_eq(late->images->problem.members[0].text, "inference");
    request_free(late);
}
