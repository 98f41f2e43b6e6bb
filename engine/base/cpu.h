/* What this CPU can do, and how many of its cores are ours; how the calling thread treats
 * denormals. Any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_BASE_CPU_H
#define RESNETD_ENGINE_BASE_CPU_H

enum cpu_flag {
    CPU_AVX2 = 1 << 0,
    CPU_FMA = 1 << 1,
    CPU_AVX512F = 1 << 2,
    CPU_AVX512BF16 = 1 << 3,
    CPU_AMXBF16 = 1 << 4,
};

/* The enum cpu_flag bits that both the CPU and the operating system support. Asks the system to
 * let this process use the tiles of AMX, where there are any. */
unsigned cpu_flags(void);

/* Cores in the affinity mask, cut down to the CPU quota (rounded up) of our cgroup and its parents;
 * at least 1. `root` stands for "/", so that tests can bring their own files; NULL means "/". */
int cpu_cores(const char *root);

/* Has the calling thread run on another core than this one, of those it may run on; it may still
 * run on all of them afterwards. Nothing if it runs on another already, has no other, or may not
 * choose. */
void cpu_leave(int core);

/* Makes denormal results and operands zero in the calling thread (a denormal costs a hundred
 * times a normal number); returns the state before, for cpu_denormals_restore. */
unsigned long cpu_denormals_flush(void);
void cpu_denormals_restore(unsigned long state);

/* Tells the core that this is a spin loop. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
