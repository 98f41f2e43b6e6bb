/* CPU quotas from made-up cgroup trees, v1 and v2, the affinity mask, and leaving a core.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cpu.h"
#include "tests/support_folder.h"

TestSuite(cpu, .init = folder_make, .fini = folder_remove);

/* Writes a file below the temporary root, with the folders on the way. */
static void put(const char *path, const char *text)
{
    char command[512];
    (void)snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s/%s')\"", folder_path(), path);
    cr_assert_eq(system(command), 0);
    folder_write_text(path, text);
}

static int all_cores(void)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set);
}

Test(cpu, no_cgroup_files_leave_the_affinity_mask)
{
    cr_assert_eq(cpu_cores(folder_path()), all_cores());
}

Test(cpu, a_v2_quota_is_rounded_up)
{
    put("proc/self/cgroup", "0::/pod/app\n");
    put("sys/fs/cgroup/pod/app/cpu.max", "50000 100000\n");
    cr_assert_eq(cpu_cores(folder_path()), 1);
    put("sys/fs/cgroup/pod/app/cpu.max", "110000 100000\n");
    cr_assert_eq(cpu_cores(folder_path()), all_cores() < 2 ? 1 : 2);
    put("sys/fs/cgroup/pod/app/cpu.max", "max 100000\n");
    cr_assert_eq(cpu_cores(folder_path()), all_cores());
}

Test(cpu, a_parents_quota_binds_too)
{
    put("proc/self/cgroup", "0::/pod/app\n");
    put("sys/fs/cgroup/pod/app/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/pod/cpu.max", "100000 100000\n");
    cr_assert_eq(cpu_cores(folder_path()), 1);
}

Test(cpu, inside_a_container_the_mounts_root_is_read)
{
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/cpu.max", "20000 100000\n");
    cr_assert_eq(cpu_cores(folder_path()), 1);
}

Test(cpu, a_v1_quota_counts)
{
    put("proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/docker/abc\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "100000\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(cpu_cores(folder_path()), 1);
    put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
    cr_assert_eq(cpu_cores(folder_path()), all_cores());
}

Test(cpu, nonsense_in_the_files_is_no_limit)
{
    put("proc/self/cgroup", "nonsense\n0::\n\n::::\n0::/a\n");
    put("sys/fs/cgroup/a/cpu.max", "lots of it\n");
    put("sys/fs/cgroup/cpu.max", "100000 0\n");
    cr_assert_eq(cpu_cores(folder_path()), all_cores());
}

/* A scheduler may bring a thread back at once, but not every time. */
Test(cpu, a_core_is_left_and_may_be_used_again)
{
    cpu_set_t before, after;
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    bool left = false;
    for (int i = 0; i < 100 && !left; i++) {
        const int core = sched_getcpu();
        cpu_leave(core);
        left = sched_getcpu() != core;
    }
    cr_assert(left == (all_cores() > 1), "%d cores", all_cores());
    cr_assert_eq(sched_getaffinity(0, sizeof after, &after), 0);
    cr_assert(CPU_EQUAL(&before, &after), "the affinity mask has changed");
}

Test(cpu, an_only_core_is_not_left)
{
    cpu_set_t one;
    const int core = sched_getcpu();
    CPU_ZERO(&one);
    CPU_SET((size_t)core, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cpu_leave(core);
    cr_assert_eq(sched_getcpu(), core);
    cr_assert_eq(all_cores(), 1);
}
