/* libFuzzer: the bytes of a JSON settings file.
 *
 * SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("config", 0);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, n, 0) != (ssize_t)n)
        abort();
    char flag[] = "--config", *argv[] = {flag, path, NULL}, *envp[] = {NULL};
    struct config config;
    struct config_error err;
    if (config_load(&config, 2, argv, envp, NULL, &err))
        config_done(&config);
    else if (err.text[0] == '\0')
        abort();
    return 0;
}
