/* CPU features from the compiler's cpuid helper; cores from the affinity mask and cgroup files.
 *
 * cgroup v2: <mount>/<group>/cpu.max = "QUOTA|max PERIOD". v1: cpu.cfs_quota_us and
 * cpu.cfs_period_us
 * (-1 = none) under the cpu controller. A parent's quota binds too, so every level up to the mount
 * is read. Inside a container the group's own path may not be visible; the mount's root is read
 * then.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/cpu.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

#define LEAF_7_EDX_AMX ((1u << 22) | (1u << 24)) /* AMX-BF16, AMX-TILE */
#define LEAF_7_1_EAX_AVX512BF16 (1u << 5)
#define ARCH_REQ_XCOMP_PERM 0x1023 /* asm/prctl.h of Linux 5.16 */
#define XFEATURE_XTILEDATA 18

/* CPUs have these, but __builtin_cpu_supports does not know them yet. */
static unsigned newer_flags(void)
{
    unsigned a = 0, b, c, d = 0, flags = 0;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && a & LEAF_7_1_EAX_AVX512BF16)
        flags |= CPU_AVX512BF16;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & LEAF_7_EDX_AMX) == LEAF_7_EDX_AMX &&
        syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0)
        flags |= CPU_AMXBF16;
    return flags;
}
#endif

unsigned cpu_flags(void)
{
    unsigned flags = 0;
#if defined(__x86_64__)
    __builtin_cpu_init(); /* dispatch.c asks before main() */
    flags |= __builtin_cpu_supports("avx2") ? CPU_AVX2 : 0;
    flags |= __builtin_cpu_supports("fma") ? CPU_FMA : 0;
    flags |= __builtin_cpu_supports("avx512f") ? CPU_AVX512F : 0;
    flags |= newer_flags();
#endif
    return flags;
}

/* The first line of root/dir/file; false when it cannot be read. */
static bool read_line(const char *root, const char *dir, const char *file, char *line, size_t n)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s/%s", root, dir, file) >= (int)sizeof path)
        return false;
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fgets(line, (int)n, f) != NULL;
    (void)fclose(f);
    return ok;
}

/* Cores that the quota of one directory allows; 0 when it has none. */
static int quota_cores(const char *root, const char *dir, bool v2)
{
    char line[64];
    long quota = -1, period = 0;
    if (v2) {
        if (!read_line(root, dir, "cpu.max", line, sizeof line) ||
            sscanf(line, "%ld %ld", &quota, &period) != 2)
            return 0;
    } else {
        if (!read_line(root, dir, "cpu.cfs_quota_us", line, sizeof line))
            return 0;
        quota = strtol(line, NULL, 10);
        if (!read_line(root, dir, "cpu.cfs_period_us", line, sizeof line))
            return 0;
        period = strtol(line, NULL, 10);
    }
    if (quota <= 0 || period <= 0)
        return 0;
    long cores = (quota + period - 1) / period;
    return cores > INT_MAX ? INT_MAX : (int)cores;
}

/* The smallest quota from mount/group up to mount; `limit` where there is none. */
static int walk_quota(const char *root, const char *mount, const char *group, bool v2, int limit)
{
    char dir[PATH_MAX];
    if (snprintf(dir, sizeof dir, "%s%s", mount, group) >= (int)sizeof dir)
        return limit;
    for (;;) {
        int cores = quota_cores(root, dir, v2);
        if (cores > 0 && cores < limit)
            limit = cores;
        char *slash = strrchr(dir, '/');
        if (!slash || strlen(dir) <= strlen(mount))
            return limit;
        *slash = '\0';
    }
}

/* True if "cpu" is one of the comma-separated controllers. */
static bool has_cpu(const char *controllers)
{
    for (const char *p = controllers; *p;) {
        size_t n = strcspn(p, ",");
        if (n == 3 && strncmp(p, "cpu", 3) == 0)
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

int cpu_cores(const char *root)
{
    if (!root)
        root = "";
    cpu_set_t set;
    int cores = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        cores = CPU_COUNT(&set);

    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/proc/self/cgroup", root) >= (int)sizeof path)
        return cores;
    FILE *f = fopen(path, "re");
    if (!f)
        return cores;
    char line[PATH_MAX];
    while (fgets(line, sizeof line, f)) {
        /* hierarchy-id:controllers:/group */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        controllers++;
        *group++ = '\0';
        if (strcmp(group, "/") == 0)
            *group = '\0';
        if (*controllers == '\0') {
            cores = walk_quota(root, "sys/fs/cgroup", group, true, cores);
        } else if (has_cpu(controllers)) {
            cores = walk_quota(root, "sys/fs/cgroup/cpu", group, false, cores);
            cores = walk_quota(root, "sys/fs/cgroup/cpu,cpuacct", group, false, cores);
        }
    }
    (void)fclose(f);
    return cores > 0 ? cores : 1;
}

void cpu_leave(int core)
{
    cpu_set_t allowed, others;
    if (sched_getcpu() != core || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    others = allowed;
    CPU_CLR((size_t)core, &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0)
        return;
    (void)sched_setaffinity(0, sizeof allowed, &allowed);
}

#if defined(__x86_64__)

#define MXCSR_FTZ_DAZ 0x8040u

unsigned long cpu_denormals_flush(void)
{
    unsigned state = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(state | MXCSR_FTZ_DAZ);
    return state;
}

void cpu_denormals_restore(unsigned long state)
{
    __builtin_ia32_ldmxcsr((unsigned)state);
}

#elif defined(__aarch64__)

#define FPCR_FZ (1ul << 24)

unsigned long cpu_denormals_flush(void)
{
    unsigned long state;
    __asm__ volatile("mrs %0, fpcr" : "=r"(state));
    __asm__ volatile("msr fpcr, %0" : : "r"(state | FPCR_FZ));
    return state;
}

void cpu_denormals_restore(unsigned long state)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(state));
}

#else

unsigned long cpu_denormals_flush(void)
{
    return 0;
}

void cpu_denormals_restore(unsigned long state)
{
    (void)state;
}

#endif
