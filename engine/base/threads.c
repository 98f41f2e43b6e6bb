/* The fork-join team. Each thread has a share of a run's items, the same part of them in every run,
 * since the same part of a feature map is often what it left in its own cache; a thread that is
 * done with its share takes from the others'. A share is published as one 64-bit ticket that holds
 * the run's number, the share's end and its next item to claim, so that claiming is one fetch_add
 * and a thread that wakes up late either gets a valid item of the present run or none. fn and
 * context are written before the tickets are released and read only after a valid claim, and a run
 * cannot end before its claimed items have: no lock is needed on that path. The mutex and the
 * condition serve sleeping only.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cpu.h"
#include "engine/base/nanotime.h"
#include "engine/engine.h"

#define ITEM_BITS 20
#define ITEM_MASK ((UINT64_C(1) << ITEM_BITS) - 1)
#define ROUND_ITEMS (1 << (ITEM_BITS - 1)) /* leaves room for claims beyond the last item */
#define SPINS 2000                         /* pauses before a worker sleeps, about 50 µs */
#define LATE_NS 1500000u                   /* longer than the event loop and a decode take */
#define KEEPS 50                           /* times what it took */

struct share {
    _Alignas(64) atomic_uint_fast64_t ticket; /* run << 40 | end << 20 | next item */
};

struct rn_threads {
    _Alignas(64) atomic_int n_done; /* items of the present run */
    _Alignas(64) atomic_int n_sleeping;
    atomic_bool stop;
    threads_fn fn;
    void *context;
    int first; /* item 0 of the tickets is this one of the run */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_int n_started;               /* workers */
    atomic_int n_met;                   /* in threads_meet */
    atomic_int waker;                   /* the core whose run woke sleepers last */
    _Atomic(rn_threads_waits_fn) waits; /* NULL: nobody */
    void *waits_context;
    int n; /* threads in all, the caller of a run included */
    int n_workers;
    struct share *shares; /* [n] */
    pthread_t workers[];
};

static _Thread_local int self; /* a worker's number in its team; 0 for all others, and if alone */

int threads_self(void)
{
    return self;
}

static bool has_items(uint64_t ticket)
{
    return (ticket & ITEM_MASK) < (ticket >> ITEM_BITS & ITEM_MASK);
}

/* Claims and runs items of a share until there are none. */
static void work_on(struct rn_threads *t, struct share *share)
{
    while (has_items(atomic_load_explicit(&share->ticket, memory_order_acquire))) {
        uint64_t ticket = atomic_fetch_add_explicit(&share->ticket, 1, memory_order_acq_rel);
        if (!has_items(ticket))
            return;
        t->fn(t->context, t->first + (int)(ticket & ITEM_MASK));
        atomic_fetch_add_explicit(&t->n_done, 1, memory_order_release);
    }
}

/* This thread's share first. */
static void work(struct rn_threads *t)
{
    for (int i = 0; i < t->n; i++)
        work_on(t, &t->shares[(self + i) % t->n]);
}

/* A scheduler takes a core from a thread that computes only every few milliseconds, however short
 * the work is that waits for it. Where a core that was given away comes back late, other processes
 * had it: they take turns by themselves, and it is kept for a while. */
static void give_way(struct rn_threads *t)
{
    static _Thread_local uint64_t kept_until_ns;
    const rn_threads_waits_fn waits = atomic_load_explicit(&t->waits, memory_order_acquire);
    if (!waits || !waits(t->waits_context))
        return;
    const uint64_t start_ns = nanotime_monotonic();
    if (start_ns < kept_until_ns)
        return;
    (void)sched_yield();
    const uint64_t end_ns = nanotime_monotonic();
    if (end_ns - start_ns > LATE_NS)
        kept_until_ns = end_ns + KEEPS * (end_ns - start_ns);
}

/* Nothing in this thread's own share, of which the others have been looked through. */
static bool idle(struct rn_threads *t)
{
    return !has_items(atomic_load(&t->shares[self].ticket)) && !atomic_load(&t->stop);
}

static void *worker_main(void *arg)
{
    struct rn_threads *t = arg;
    self = 1 + atomic_fetch_add(&t->n_started, 1);
    (void)cpu_denormals_flush();
    while (!atomic_load(&t->stop)) {
        work(t);
        give_way(t);
        for (int i = 0; i < SPINS && idle(t); i++)
            cpu_relax();
        if (!idle(t))
            continue;
        pthread_mutex_lock(&t->mutex);
        /* Sequentially consistent with run_round: either it sees us asleep or we see our ticket. */
        atomic_fetch_add(&t->n_sleeping, 1);
        while (idle(t))
            pthread_cond_wait(&t->wake, &t->mutex);
        atomic_fetch_sub(&t->n_sleeping, 1);
        pthread_mutex_unlock(&t->mutex);
        /* A scheduler may have it run where it was woken, in place of the thread that woke it. */
        cpu_leave(atomic_load(&t->waker));
    }
    return NULL;
}

static void wake_all(struct rn_threads *t)
{
    if (atomic_load(&t->n_sleeping) > 0) {
        atomic_store(&t->waker, sched_getcpu());
        pthread_mutex_lock(&t->mutex);
        pthread_cond_broadcast(&t->wake);
        pthread_mutex_unlock(&t->mutex);
    }
}

/* Publishes items first … first + n_items - 1, works on them and waits for the rest. */
static void run_round(struct rn_threads *t, int first, int n_items)
{
    t->first = first;
    atomic_store_explicit(&t->n_done, 0, memory_order_relaxed);
    for (int i = 0; i < t->n; i++) {
        const uint64_t from = (uint64_t)n_items * (uint64_t)i / (uint64_t)t->n;
        const uint64_t to = (uint64_t)n_items * (uint64_t)(i + 1) / (uint64_t)t->n;
        atomic_uint_fast64_t *ticket = &t->shares[i].ticket;
        const uint64_t run =
            (atomic_load_explicit(ticket, memory_order_relaxed) >> 2 * ITEM_BITS) + 1;
        /* An exchange, not a store: qemu 7.2 would let wake_all's load pass a store. */
        (void)atomic_exchange(ticket, run << 2 * ITEM_BITS | to << ITEM_BITS | from);
    }
    wake_all(t);
    work(t);
    /* A worker may have lost its core in the middle of an item: give ours away after a while. */
    for (unsigned i = 0; atomic_load_explicit(&t->n_done, memory_order_acquire) < n_items; i++) {
        if (i < SPINS)
            cpu_relax();
        else
            (void)sched_yield();
    }
}

void threads_run(struct rn_threads *t, int n_items, threads_fn fn, void *context)
{
    if (t->n == 1 || n_items <= 1) {
        for (int i = 0; i < n_items; i++)
            fn(context, i);
        give_way(t);
        return;
    }
    t->fn = fn;
    t->context = context;
    for (int first = 0; first < n_items; first += ROUND_ITEMS) {
        int left = n_items - first;
        run_round(t, first, left < ROUND_ITEMS ? left : ROUND_ITEMS);
    }
    give_way(t);
}

void threads_alone(struct rn_threads *threads, void (*fn)(void *context, struct rn_threads *alone),
                   void *context)
{
    const int was = self;
    struct rn_threads alone = {
        .waits = atomic_load_explicit(&threads->waits, memory_order_acquire),
        .waits_context = threads->waits_context,
        .n = 1,
    };
    self = 0;
    fn(context, &alone);
    self = was;
}

static void meet(void *context, int item)
{
    struct rn_threads *t = context;
    (void)item;
    atomic_fetch_add(&t->n_met, 1);
    for (int i = 0; atomic_load(&t->n_met) < t->n; i++) {
        if (i < SPINS)
            cpu_relax();
        else
            (void)sched_yield();
    }
}

void threads_meet(struct rn_threads *t)
{
    atomic_store(&t->n_met, 0);
    threads_run(t, t->n, meet, t);
}

void rn_threads_free(struct rn_threads *t)
{
    if (!t)
        return;
    atomic_store(&t->stop, true);
    pthread_mutex_lock(&t->mutex);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
    for (int i = 0; i < t->n_workers; i++)
        pthread_join(t->workers[i], NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->mutex);
    free(t->shares);
    free(t);
}

enum rn_status rn_threads_new(int n, struct rn_threads **out, struct rn_error *err)
{
    if (n < 1 || n > 1024)
        return rn_fail(err, RN_BAD_ARGUMENT, "%d threads: 1 to 1024 are possible", n);
    size_t bytes = sizeof(struct rn_threads) + (size_t)(n - 1) * sizeof(pthread_t);
    bytes = (bytes + 63) / 64 * 64;
    struct rn_threads *t = aligned_alloc(64, bytes);
    struct share *shares = aligned_alloc(64, (size_t)n * sizeof *shares);
    if (!t || !shares) {
        free(t);
        free(shares);
        return rn_fail(err, RN_NO_MEMORY, "out of memory for a team of %d threads", n);
    }
    memset(t, 0, bytes);
    memset(shares, 0, (size_t)n * sizeof *shares);
    t->n = n;
    t->shares = shares;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->wake, NULL);
    for (; t->n_workers < n - 1; t->n_workers++) {
        int e = pthread_create(&t->workers[t->n_workers], NULL, worker_main, t);
        if (e != 0) {
            int got = 1 + t->n_workers;
            rn_threads_free(t);
            return rn_fail(err, RN_NO_THREADS, "thread %d of %d could not be started: %s", got + 1,
                           n, strerror(e));
        }
    }
    *out = t;
    return RN_OK;
}

void rn_threads_give_way(struct rn_threads *t, rn_threads_waits_fn waits, void *context)
{
    t->waits_context = context;
    atomic_store_explicit(&t->waits, waits, memory_order_release);
}

int rn_threads_count(const struct rn_threads *t)
{
    return t->n;
}

int rn_threads_available(void)
{
    return cpu_cores(NULL);
}
