/* Limits and a system call filter, on the calling process itself.
 *
 * Sanitizers need more system calls than they are worth here: such builds go without both.
 * Reference: seccomp(2), Linux Documentation/userspace-api/seccomp_filter.rst.
 *
 * SPDX-License-Identifier: MIT */
#include "server/sandbox_internal.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SANITIZED

/* Heap that is not in use, stacks, and what the resize takes beside the decoder. */
#define SLACK_BYTES ((size_t)64 << 20)
/* What the heap keeps for the next image instead of having each page zeroed again. The most that
 * malloc takes as a threshold for blocks of their own. */
#define KEPT_HEAP_BYTES (32 << 20)

static void limit(int resource, rlim_t value)
{
    (void)setrlimit((unsigned)resource, &(struct rlimit){value, value});
}

/* 0 where /proc is not there to tell. */
static size_t address_space(void)
{
    unsigned long n_pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%lu", &n_pages) != 1)
            n_pages = 0;
        (void)fclose(f);
    }
    return n_pages * (size_t)sysconf(_SC_PAGESIZE);
}

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define ALLOW(call)                                                                                \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 1), RETURN(SECCOMP_RET_ALLOW)

/* The low half of an argument; both machines are little-endian, and flags and protections fit. */
#define ARGUMENT(i) LOAD(args[i])

static bool filter(void)
{
    static struct sock_filter rules[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        ALLOW(read),
        ALLOW(write),
        ALLOW(futex),
        ALLOW(brk),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(madvise),
        ALLOW(clock_gettime),
        ALLOW(rt_sigreturn),
        ALLOW(restart_syscall),
        ALLOW(exit_group),
        /* Memory of its own, never to be executed. */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mmap, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        ARGUMENT(2),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 2, 0),
        ARGUMENT(3),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        RETURN(SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#else

static bool filter(void)
{
    return false;
}

#endif

bool sandbox_confine(size_t max_memory)
{
    const size_t now = address_space();
    if (now)
        limit(RLIMIT_AS, now + max_memory + SLACK_BYTES);
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_HEAP_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_HEAP_BYTES);
    (void)mallopt(M_ARENA_MAX, 1); /* or a failing malloc asks how many CPUs there are */
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_NOFILE, 0);
    (void)prctl(PR_SET_DUMPABLE, 0);
    return filter();
}

#else

bool sandbox_confine(size_t max_memory)
{
    (void)max_memory;
    return false;
}

#endif
