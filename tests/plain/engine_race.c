/* A plain program for ThreadSanitizer, which Criterion's forking does not go with: two threads,
 * each with a session and a team of its own, run one shared model at the same time, over and over,
 * with other batch sizes, and every answer must have the bits of the first. Exit 0 when all do.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/embedded.h"
#include "engine/engine.h"
#include "tests/support_random.h"

enum { BATCH = 4, CLASSES = 10, IMAGE = 3 * 32 * 32, ROUNDS = 60 };

static struct rn_model *model;
static float images[BATCH][IMAGE], want[BATCH][CLASSES];

static struct rn_session *new_session(int n_threads, struct rn_threads **threads)
{
    struct rn_session *session;
    struct rn_error err;
    if (rn_threads_new(n_threads, threads, &err) != RN_OK ||
        rn_session_new(model, *threads, &session, &err) != RN_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return session;
}

static void *run(void *arg)
{
    struct rn_threads *threads;
    struct rn_session *session = new_session(*(const int *)arg, &threads);
    size_t wrong = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const float *inputs[BATCH];
        float logits[BATCH][CLASSES];
        int n = 1 + round % BATCH;
        for (int i = 0; i < n; i++)
            inputs[i] = images[(i + round) % BATCH];
        rn_session_run(session, inputs, n, logits[0]);
        for (int i = 0; i < n; i++)
            wrong += memcmp(logits[i], want[(i + round) % BATCH], sizeof logits[i]) != 0;
    }
    rn_session_free(session);
    rn_threads_free(threads);
    return (void *)wrong;
}

int main(void)
{
    struct rn_model_options options = {.max_batch = BATCH};
    struct rn_error err;
    if (rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(), "embedded",
                             &options, &model, &err) != RN_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    uint64_t seed = 41;
    random_fill(&seed, images[0], BATCH * IMAGE);
    struct rn_threads *threads;
    struct rn_session *session = new_session(1, &threads);
    for (int i = 0; i < BATCH; i++)
        rn_session_run(session, &(const float *){images[i]}, 1, want[i]);
    rn_session_free(session);
    rn_threads_free(threads);

    static const int team[2] = {2, 3};
    pthread_t other[2];
    size_t wrong = 0;
    for (int i = 0; i < 2; i++)
        if (pthread_create(&other[i], NULL, run, (void *)(uintptr_t)&team[i]) != 0)
            return 1;
    for (int i = 0; i < 2; i++) {
        void *n;
        pthread_join(other[i], &n);
        wrong += (size_t)n;
    }
    rn_model_free(model);
    (void)printf("engine_race: %zu of %d answers differed\n", wrong, 2 * ROUNDS);
    return wrong != 0;
}
