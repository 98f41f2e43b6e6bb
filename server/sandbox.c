/* The daemon's side: slots in shared memory, orders to helpers, and what to do when one dies.
 *
 * sandbox_open, _tend and _close on the loop thread; sandbox_run on workers, one per slot. The lock
 * guards the zygote: its control socket, and the new sockets that a restart leaves for the slots.
 *
 * SPDX-License-Identifier: MIT */
#include "server/sandbox_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#define START_TIMEOUT_MS 5000
#define LIVED_NS 1000000000u /* a zygote that dies sooner is replaced only when it is needed */
#define LOOK_MS 50           /* between looks at a slow helper's CPU clock */
/* A decoder stops by itself at max_cpu_ms. One that does not is killed at twice that, and one that
 * has not got that much CPU at eight times that by the clock. */
#define CPU_FACTOR 2
#define WALL_FACTOR 8
#define DEATH_TIMEOUT_MS 1000
/* Of a larger file a slot gives the rest of the memory back. */
#define KEPT_FILE_BYTES ((size_t)4 << 20)

struct slot {
    uint8_t *memory;
    int socket; /* -1: none */
    int fresh;  /* left by a restart of the zygote, -1: none; under the lock */
    pid_t pid;  /* of the helper, 0 = not known */
    uint64_t n_runs;
    int last_signal;
};

struct sandbox {
    struct sandbox_options options;
    struct sandbox_layout layout;
    int memory_fd;
    uint8_t *memory;
    struct slot *slots;
    uv_mutex_t lock;
    int control;  /* -1: no zygote */
    pid_t zygote; /* 0: none */
    uint64_t zygote_started_ns;
    atomic_bool filtered;
    atomic_uint_fast64_t n_deaths;
};

static size_t to_pages(size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

struct sandbox_layout sandbox_layout(size_t max_file_bytes)
{
    const size_t file_at = to_pages(sizeof(struct sandbox_slot));
    const size_t rgb_at = file_at + to_pages(max_file_bytes);
    return (struct sandbox_layout){file_at, rgb_at, rgb_at + to_pages(SANDBOX_MAX_RGB_BYTES)};
}

static void close_socket(int *socket)
{
    if (*socket >= 0)
        (void)close(*socket);
    *socket = -1;
}

/* ---- the zygote; under the lock ----------------------------------------------------------------
 */

/* With a descriptor along, -1 for none. */
static bool command(const struct sandbox *s, const void *data, size_t n, int fd)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(s->control, &message, MSG_NOSIGNAL) == (ssize_t)n;
}

/* The program again, its socket as descriptor 0, with nothing of our environment but what it needs
 * to be loaded. */
static int spawn(const char *program, int socket, pid_t *pid)
{
    char *const words[] = {(char *)(uintptr_t) "resnetd", (char *)(uintptr_t) "decode-zygote",
                           NULL};
    char library_path[1024] = "LD_LIBRARY_PATH=";
    const size_t prefix = strlen(library_path);
    const char *value = getenv("LD_LIBRARY_PATH");
    const bool given = value && strlen(value) < sizeof library_path - prefix;
    if (given)
        memcpy(library_path + prefix, value, strlen(value) + 1);
    char *const environment[] = {given ? library_path : NULL, NULL};
    posix_spawn_file_actions_t actions;
    int failure = posix_spawn_file_actions_init(&actions);
    if (failure)
        return failure;
    failure = posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
    if (!failure)
        failure = posix_spawn(pid, program, &actions, NULL, words, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    return failure;
}

static bool give_slots(struct sandbox *s)
{
    const struct sandbox_setup setup = {s->options.n_slots, s->options.max_file_bytes,
                                        s->options.max_memory};
    if (!command(s, &setup, sizeof setup, s->memory_fd))
        return false;
    for (int i = 0; i < s->options.n_slots; i++) {
        int ends[2];
        const struct sandbox_command give = {i};
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
            return false;
        const bool given = command(s, &give, sizeof give, ends[1]);
        (void)close(ends[1]);
        close_socket(&s->slots[i].fresh);
        s->slots[i].fresh = ends[0];
        if (!given)
            return false;
    }
    return true;
}

static void end_zygote(struct sandbox *s)
{
    close_socket(&s->control);
    if (s->zygote > 0)
        (void)waitpid(s->zygote, NULL, 0);
    s->zygote = 0;
}

static enum rn_status start_zygote(struct sandbox *s, struct rn_error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return rn_fail(err, RN_IO, "no socket for the decode helpers: %s", strerror(errno));
    const int failure = spawn(s->options.program, ends[1], &s->zygote);
    (void)close(ends[1]);
    s->control = ends[0];
    s->zygote_started_ns = uv_hrtime();
    if (failure) {
        s->zygote = 0;
        close_socket(&s->control);
        return rn_fail(err, RN_IO, "%s could not be started to decode: %s", s->options.program,
                       strerror(failure));
    }
    if (give_slots(s))
        return RN_OK;
    end_zygote(s);
    return rn_fail(err, RN_IO, "the decode helpers could not be set up: %s", strerror(errno));
}

void sandbox_tend(struct sandbox *s)
{
    uv_mutex_lock(&s->lock);
    if (s->zygote > 0 && waitpid(s->zygote, NULL, WNOHANG) != 0) {
        s->zygote = 0;
        end_zygote(s);
        if (uv_hrtime() - s->zygote_started_ns > LIVED_NS)
            (void)start_zygote(s, NULL); /* without one the next decode tries again */
    }
    uv_mutex_unlock(&s->lock);
}

/* ---- a slot; on its worker ---------------------------------------------------------------------
 */

static void close_slot(struct slot *slot)
{
    close_socket(&slot->socket);
    slot->pid = 0;
}

/* The socket that a restart has left; a dead zygote is replaced first. */
static void renew(struct sandbox *s, struct slot *slot)
{
    uv_mutex_lock(&s->lock);
    if (slot->socket < 0 && slot->fresh < 0) {
        end_zygote(s);
        (void)start_zygote(s, NULL); /* without one the run fails */
    }
    if (slot->fresh >= 0) {
        close_slot(slot);
        slot->socket = slot->fresh;
        slot->fresh = -1;
    }
    uv_mutex_unlock(&s->lock);
}

enum event { EVENT_RAN, EVENT_DIED, EVENT_GONE, EVENT_NOTHING, EVENT_OTHER };

/* The next message within `timeout_ms`. */
static enum event listen_to(struct sandbox *s, struct slot *slot, int timeout_ms)
{
    struct pollfd ready = {.fd = slot->socket, .events = POLLIN};
    const int n = poll(&ready, 1, timeout_ms);
    if (n <= 0)
        return n < 0 && errno == EINTR ? EVENT_OTHER : EVENT_NOTHING;
    struct sandbox_message message;
    if (recv(slot->socket, &message, sizeof message, 0) != (ssize_t)sizeof message) {
        slot->last_signal = SIGKILL;
        close_slot(slot);
        atomic_fetch_add(&s->n_deaths, 1);
        return EVENT_GONE;
    }
    switch (message.kind) {
    case SANDBOX_BORN:
        slot->pid = message.value;
        return EVENT_OTHER;
    case SANDBOX_READY:
        atomic_store(&s->filtered, message.value == 1);
        return EVENT_OTHER;
    case SANDBOX_DIED:
        slot->last_signal = message.value;
        slot->pid = 0;
        atomic_fetch_add(&s->n_deaths, 1);
        return EVENT_DIED;
    case SANDBOX_RAN:
        return message.run == slot->n_runs ? EVENT_RAN : EVENT_OTHER;
    default:
        return EVENT_OTHER;
    }
}

/* What has happened since the last run; a helper that has died meanwhile is no failure of this. */
static bool is_ready(struct sandbox *s, struct slot *slot)
{
    for (int tries = 0; tries < 2; tries++) {
        renew(s, slot);
        enum event event = EVENT_NOTHING;
        while (slot->socket >= 0 && (event = listen_to(s, slot, 0)) != EVENT_NOTHING &&
               event != EVENT_GONE)
            ;
        if (slot->socket >= 0 && event == EVENT_NOTHING)
            return true;
    }
    return false;
}

/* CPU time of the helper so far; 0 when it cannot be told. */
static uint64_t cpu_ns(const struct slot *slot)
{
    clockid_t clock;
    struct timespec t;
    if (slot->pid <= 0 || clock_getcpuclockid(slot->pid, &clock) != 0 ||
        clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void kill_helper(struct sandbox *s, const struct slot *slot)
{
    const struct sandbox_command order = {(int)(slot - s->slots)};
    uv_mutex_lock(&s->lock);
    if (s->control >= 0)
        (void)command(s, &order, sizeof order, -1);
    uv_mutex_unlock(&s->lock);
}

static bool is_crash(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
           signal == SIGABRT || signal == SIGSYS || signal == SIGTRAP;
}

static void wait_for_death(struct sandbox *s, struct slot *slot)
{
    kill_helper(s, slot);
    enum event event;
    do
        event = listen_to(s, slot, DEATH_TIMEOUT_MS);
    while (event == EVENT_OTHER || event == EVENT_RAN);
}

static enum sandbox_end await(struct sandbox *s, struct slot *slot, int max_cpu_ms)
{
    const uint64_t start_ns = uv_hrtime();
    const uint64_t budget_ns = (uint64_t)max_cpu_ms * 1000000;
    uint64_t cpu_start_ns = 0;
    for (;;) {
        switch (listen_to(s, slot, LOOK_MS)) {
        case EVENT_RAN:
            return SANDBOX_DONE;
        case EVENT_DIED:
        case EVENT_GONE:
            return is_crash(slot->last_signal) ? SANDBOX_CRASHED : SANDBOX_KILLED;
        case EVENT_OTHER:
            break;
        case EVENT_NOTHING: {
            const uint64_t now_ns = cpu_ns(slot);
            if (cpu_start_ns == 0)
                cpu_start_ns = now_ns;
            const bool slow = now_ns - cpu_start_ns > CPU_FACTOR * budget_ns;
            if (!slow && uv_hrtime() - start_ns <= WALL_FACTOR * budget_ns)
                break;
            wait_for_death(s, slot);
            return slow ? SANDBOX_TOO_SLOW : SANDBOX_STARVED;
        }
        }
    }
}

enum sandbox_end sandbox_run(struct sandbox *s, int number, const struct pixels_order *order,
                             const uint8_t *bytes, size_t n, struct pixels_result *result,
                             const uint8_t **rgb, int *signal)
{
    struct slot *slot = &s->slots[number];
    struct sandbox_slot *shared = (struct sandbox_slot *)(void *)slot->memory;
    assert(n <= s->options.max_file_bytes && order->recipe.crop <= RN_MAX_INPUT_SIDE);
    *signal = 0;
    if (!is_ready(s, slot))
        return SANDBOX_KILLED;
    shared->order = *order;
    shared->n_bytes = n;
    memcpy(slot->memory + s->layout.file_at, bytes, n);
    const struct sandbox_message run = {SANDBOX_RUN, 0, ++slot->n_runs};
    (void)send(slot->socket, &run, sizeof run, MSG_NOSIGNAL); /* if nobody hears it: EVENT_GONE */
    enum sandbox_end end = await(s, slot, order->limits.max_cpu_ms);
    *signal = end == SANDBOX_DONE ? 0 : slot->last_signal;
    if (end == SANDBOX_DONE) {
        *result = shared->result;
        *rgb = slot->memory + s->layout.rgb_at;
        if (!sandbox_check_result(order, n, uv_hrtime(), result)) {
            wait_for_death(s, slot);
            end = SANDBOX_CRASHED;
        }
    }
    if (n > KEPT_FILE_BYTES)
        (void)madvise(slot->memory + s->layout.file_at + KEPT_FILE_BYTES,
                      s->layout.rgb_at - s->layout.file_at - KEPT_FILE_BYTES, MADV_REMOVE);
    return end;
}

/* ---- from start to end -------------------------------------------------------------------------
 */

static enum rn_status share_memory(struct sandbox *s, struct rn_error *err)
{
    const size_t n = (size_t)s->options.n_slots * s->layout.slot_bytes;
    s->memory_fd = memfd_create("resnetd-decode", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (s->memory_fd >= 0 && ftruncate(s->memory_fd, (off_t)n) == 0 &&
        fcntl(s->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        s->memory = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, s->memory_fd, 0);
    if (!s->memory || s->memory == MAP_FAILED) {
        s->memory = NULL;
        return rn_fail(err, RN_NO_MEMORY, "no memory to share with decode helpers: %s",
                       strerror(errno));
    }
    for (int i = 0; i < s->options.n_slots; i++)
        s->slots[i] = (struct slot){.memory = s->memory + (size_t)i * s->layout.slot_bytes, -1, -1};
    return RN_OK;
}

/* A helper that cannot even start says so by dying. */
static enum rn_status await_first(struct sandbox *s, struct rn_error *err)
{
    struct slot *slot = &s->slots[0];
    const uint64_t end_ns = uv_hrtime() + (uint64_t)START_TIMEOUT_MS * 1000000;
    renew(s, slot);
    slot->pid = 0;
    for (bool born = false; uv_hrtime() < end_ns && slot->socket >= 0;) {
        switch (listen_to(s, slot, LOOK_MS)) {
        case EVENT_OTHER: /* born, then ready */
            if (born)
                return RN_OK;
            born = true;
            break;
        case EVENT_DIED:
        case EVENT_GONE:
            return rn_fail(err, RN_IO, "a decode helper died at its start (signal %d)",
                           slot->last_signal);
        default:
            break;
        }
    }
    return rn_fail(err, RN_IO, "no decode helper has started within %d ms", START_TIMEOUT_MS);
}

enum rn_status sandbox_open(const struct sandbox_options *options, struct sandbox **out,
                            struct rn_error *err)
{
    struct sandbox *s = calloc(1, sizeof *s);
    if (!s)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the decode helpers");
    s->options = *options;
    s->layout = sandbox_layout(options->max_file_bytes);
    s->memory_fd = s->control = -1;
    s->slots = calloc((size_t)options->n_slots, sizeof *s->slots);
    if (!s->slots || uv_mutex_init(&s->lock) != 0) {
        free(s->slots);
        free(s);
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the decode helpers");
    }
    enum rn_status status = share_memory(s, err);
    if (status == RN_OK)
        status = start_zygote(s, err);
    if (status == RN_OK)
        status = await_first(s, err);
    if (status != RN_OK)
        sandbox_close(s);
    else
        *out = s;
    return status;
}

void sandbox_close(struct sandbox *s)
{
    if (!s)
        return;
    end_zygote(s);
    for (int i = 0; s->memory && i < s->options.n_slots; i++) {
        close_slot(&s->slots[i]);
        close_socket(&s->slots[i].fresh);
    }
    if (s->memory)
        (void)munmap(s->memory, (size_t)s->options.n_slots * s->layout.slot_bytes);
    if (s->memory_fd >= 0)
        (void)close(s->memory_fd);
    uv_mutex_destroy(&s->lock);
    free(s->slots);
    free(s);
}

bool sandbox_is_filtered(const struct sandbox *s)
{
    return atomic_load(&s->filtered);
}

uint64_t sandbox_deaths(const struct sandbox *s)
{
    return atomic_load(&s->n_deaths);
}
