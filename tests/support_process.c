/* /proc/PID/stat of everybody.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_process.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* State and parent stand behind the name, which may contain anything. */
static bool is_child(pid_t parent, const char *name)
{
    char path[300], line[512] = "", state = 'Z';
    int ppid = 0;
    (void)snprintf(path, sizeof path, "/proc/%s/stat", name);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    const bool read = fgets(line, sizeof line, f) != NULL;
    (void)fclose(f);
    const char *rest = strrchr(line, ')');
    return read && rest && sscanf(rest, ") %c %d", &state, &ppid) == 2 && ppid == parent &&
           state != 'Z';
}

int process_children(pid_t parent, pid_t *children, int max)
{
    int n = 0;
    DIR *proc = opendir("/proc");
    for (const struct dirent *entry; proc && n < max && (entry = readdir(proc));)
        if (isdigit((unsigned char)entry->d_name[0]) && is_child(parent, entry->d_name))
            children[n++] = (pid_t)strtol(entry->d_name, NULL, 10);
    if (proc)
        (void)closedir(proc);
    return n;
}
