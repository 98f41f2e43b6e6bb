/* Who is told that it will not be in time: from the batcher, and from the workers' queue.
 *
 * An early no is worth more than a late answer: another server may still help, and nothing is
 * computed for nobody. Each delay teaches the margin of admission.c once, however many it hits:
 * otherwise only those would teach it who made it.
 *
 * SPDX-License-Identifier: MIT */
#include <uv.h>

#include "server/batcher.h"
#include "server/pipeline_internal.h"
#include "server/registry.h"
#include "server/request.h"
#include "server/workers.h"

bool pipeline_drop_expired(struct pipeline *pipeline, struct registry_model *model, uint64_t now_ns,
                           uint64_t start_ns)
{
    struct request_image *image = batcher_expire(model->batcher, start_ns);
    int n = 0;
    for (const struct request_image *other = image; other; other = other->next)
        n++;
    pipeline_left_batcher(pipeline, model, n);
    const bool some_left = batcher_images(model->batcher) > 0;
    bool taught = false;
    while (image) {
        struct request_image *next = image->next;
        const uint64_t deadline_ns = image->request->deadline_ns;
        if (!taught)
            pipeline_learn_admission(pipeline, image->request,
                                     start_ns + batcher_cost_ns(model->batcher, 1));
        taught = true;
        if (deadline_ns <= now_ns)
            request_late(&image->problem, "queue");
        else
            request_unmeetable(&image->problem,
                               start_ns - now_ns + batcher_cost_ns(model->batcher, 1) +
                                   admission_answer_ns(&pipeline->admission),
                               deadline_ns - now_ns);
        pipeline_finish_image(pipeline, image);
        image = next;
    }
    return some_left;
}

void pipeline_drop_waiting(struct pipeline *pipeline)
{
    struct request *request;
    const uint64_t answer_ns = admission_answer_ns(&pipeline->admission);
    bool taught = false;
    while (pipeline->n_requests > 1 && (request = workers_next(pipeline->workers)) != NULL &&
           request != pipeline->alone) {
        const uint64_t now_ns = uv_hrtime();
        const uint64_t run_ns = batcher_cost_ns(request->model->batcher, 1);
        const uint64_t deadline_ns = request->deadline_ns;
        if (request->n_started > 0 || deadline_ns > now_ns + run_ns + answer_ns)
            return;
        const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        if (!taught)
            pipeline_learn_admission(pipeline, request, now_ns + run_ns);
        taught = true;
        (void)workers_remove(pipeline->workers, request);
        if (!request->images) {
            request_unmeetable(&request->problem, run_ns + answer_ns, left_ns);
            pipeline_expect(pipeline, request->model, -1);
            pipeline_finish_request(pipeline, request);
            continue;
        }
        pipeline_expect(pipeline, request->model, -request->n_images);
        for (int i = 0, n = request->n_images; i < n; i++) { /* the last one takes it away */
            request_unmeetable(&request->images[i].problem, run_ns + answer_ns, left_ns);
            pipeline_finish_image(pipeline, &request->images[i]);
        }
    }
}
