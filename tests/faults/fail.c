/* Preloaded into the daemon: lets calls fail that never fail in tests.
 *
 *   FAIL=malloc:17      the 17th allocation of the process fails, and no other
 *   FAIL=malloc:17+     it and all after it
 *   FAIL=write:1%       one call in a hundred fails, by a fixed pseudo-random sequence
 *
 * Kinds: malloc (with calloc, realloc and aligned_alloc), read (with recv), write (with send and
 * sendmsg), accept, mmap, thread, priority (changes of it, as our stand-alone unit forbids); and of
 * a decode in a thread: stall (it sleeps for ever), spin (it computes for ever), quit (the thread
 * is gone in the middle of it). FAIL_COUNT=FILE writes at exit how many calls there were and how
 * many failed. FAIL_WHILE=FILE: they fail only while that file exists. Counting starts with main():
 * what libraries do before it is not ours to survive. Any thread.
 *
 * SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum kind {
    KIND_MALLOC,
    KIND_READ,
    KIND_WRITE,
    KIND_ACCEPT,
    KIND_MMAP,
    KIND_THREAD,
    KIND_PRIORITY,
    KIND_STALL,
    KIND_SPIN,
    KIND_QUIT,
    N_KINDS
};

static const char *const names[N_KINDS] = {"malloc", "read",     "write", "accept", "mmap",
                                           "thread", "priority", "stall", "spin",   "quit"};

static enum kind chosen = N_KINDS;
static long from, to;     /* calls to fail, counted from 1; from 0: by chance */
static unsigned per_cent; /* chance */
static const char *gate;  /* a file without which nothing fails */
static atomic_long n_calls, n_failed;
static atomic_bool started;

static bool is_planned(long n)
{
    if (from > 0)
        return n >= from && n <= to;
    uint64_t x = (uint64_t)n * UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % 100 < per_cent;
}

static bool fails(enum kind kind)
{
    if (kind != chosen || !atomic_load(&started))
        return false;
    if (!is_planned(atomic_fetch_add(&n_calls, 1) + 1) || (gate && access(gate, F_OK) != 0))
        return false;
    atomic_fetch_add(&n_failed, 1);
    return true;
}

static void read_plan(void)
{
    const char *text = getenv("FAIL");
    gate = getenv("FAIL_WHILE");
    char kind[16] = "", mark = '\0';
    long number = 0;
    if (!text || sscanf(text, "%15[a-z]:%ld%c", kind, &number, &mark) < 2)
        return;
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kind, names[i]) == 0)
            chosen = (enum kind)i;
    if (mark == '%') {
        per_cent = (unsigned)number;
    } else {
        from = number;
        to = mark == '+' ? INT32_MAX : number;
    }
}

static void report(void)
{
    const char *path = getenv("FAIL_COUNT");
    atomic_store(&started, false);
    FILE *f = path ? fopen(path, "we") : NULL;
    if (f) {
        (void)fprintf(f, "%ld %ld\n", atomic_load(&n_calls), atomic_load(&n_failed));
        (void)fclose(f);
    }
}

/* glibc's start of a program, so that counting begins at main(). */
static int (*real_main)(int, char **, char **);

static int counted_main(int argc, char **argv, char **envp)
{
    read_plan();
    (void)atexit(report);
    atomic_store(&started, true);
    return real_main(argc, argv, envp);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    int (*start)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                 void (*)(void), void *);
    *(void **)&start = dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = main;
    return start(counted_main, argc, argv, init, fini, rtld_fini, stack_end);
}

/* ---- memory ------------------------------------------------------------------------------------
 */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

static void *none(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t n)
{
    return fails(KIND_MALLOC) ? none() : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    return fails(KIND_MALLOC) ? none() : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    return fails(KIND_MALLOC) ? none() : __libc_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return fails(KIND_MALLOC) ? none() : __libc_memalign(alignment, n);
}

/* Files and sockets. The pipes and event descriptors with which a process wakes itself cannot fail,
 * and libuv asserts so. */
static bool fails_on(enum kind kind, int fd)
{
    struct stat about;
    if (kind != chosen || fstat(fd, &about) != 0 ||
        !(S_ISREG(about.st_mode) || S_ISSOCK(about.st_mode)))
        return false;
    return fails(kind);
}

/* ---- system calls ------------------------------------------------------------------------------
 */

#define REAL(name, result, ...)                                                                    \
    static result (*real_##name)(__VA_ARGS__);                                                     \
    if (!real_##name)                                                                              \
        *(void **)&real_##name = dlsym(RTLD_NEXT, #name);

int setpriority(__priority_which_t which, id_t who, int priority)
{
    REAL(setpriority, int, __priority_which_t, id_t, int)
    if (fails(KIND_PRIORITY)) {
        errno = EPERM;
        return -1;
    }
    return real_setpriority(which, who, priority);
}

int sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
    REAL(sched_setscheduler, int, pid_t, int, const struct sched_param *)
    if (fails(KIND_PRIORITY)) {
        errno = EPERM;
        return -1;
    }
    return real_sched_setscheduler(pid, policy, param);
}

ssize_t read(int fd, void *bytes, size_t n)
{
    REAL(read, ssize_t, int, void *, size_t)
    if (fails_on(KIND_READ, fd)) {
        errno = EIO;
        return -1;
    }
    return real_read(fd, bytes, n);
}

ssize_t recv(int fd, void *bytes, size_t n, int flags)
{
    REAL(recv, ssize_t, int, void *, size_t, int)
    if (fails_on(KIND_READ, fd)) {
        errno = ECONNRESET;
        return -1;
    }
    return real_recv(fd, bytes, n, flags);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    REAL(write, ssize_t, int, const void *, size_t)
    if (fails_on(KIND_WRITE, fd)) {
        errno = EIO;
        return -1;
    }
    return real_write(fd, bytes, n);
}

ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
    REAL(send, ssize_t, int, const void *, size_t, int)
    if (fails_on(KIND_WRITE, fd)) {
        errno = EPIPE;
        return -1;
    }
    return real_send(fd, bytes, n, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg, ssize_t, int, const struct msghdr *, int)
    if (fails_on(KIND_WRITE, fd)) {
        errno = ENOBUFS;
        return -1;
    }
    return real_sendmsg(fd, message, flags);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict n, int flags)
{
    REAL(accept4, int, int, struct sockaddr *restrict, socklen_t *restrict, int)
    if (fails(KIND_ACCEPT)) {
        errno = ECONNABORTED;
        return -1;
    }
    return real_accept4(fd, address, n, flags);
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    REAL(mmap, void *, void *, size_t, int, int, int, off_t)
    if (fails(KIND_MMAP)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return real_mmap(at, n, protection, flags, fd, offset);
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict arg)
{
    REAL(pthread_create, int, pthread_t *restrict, const pthread_attr_t *restrict,
         void *(*)(void *), void *restrict)
    return fails(KIND_THREAD) ? EAGAIN : real_pthread_create(thread, attributes, run, arg);
}

/* The clock that a decoder's budget is read from. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(clock_gettime, int, clockid_t, struct timespec *)
    while (clock == CLOCK_THREAD_CPUTIME_ID && fails(KIND_STALL))
        (void)pause();
    if (clock == CLOCK_THREAD_CPUTIME_ID && fails(KIND_SPIN))
        for (;;)
            continue;
    if (clock == CLOCK_THREAD_CPUTIME_ID && fails(KIND_QUIT))
        (void)syscall(SYS_exit, 0); /* of the thread, without a word to anybody */
    return real_clock_gettime(clock, now);
}
