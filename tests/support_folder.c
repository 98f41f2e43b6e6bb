/* A temporary folder for one test.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

static char path[64];

static int remove_entry(const char *entry, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(entry);
}

void folder_make(void)
{
    (void)snprintf(path, sizeof path, "/tmp/resnetd-test-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
}

void folder_remove(void)
{
    (void)nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *folder_path(void)
{
    return path;
}

const char *folder_file(const char *name)
{
    static char file[256];
    (void)snprintf(file, sizeof file, "%s/%s", path, name);
    return file;
}

void folder_write(const char *name, const void *bytes, size_t n)
{
    FILE *file = fopen(folder_file(name), "wb");
    cr_assert_not_null(file, "%s", folder_file(name));
    cr_assert_eq(fwrite(bytes, 1, n, file), n);
    cr_assert_eq(fclose(file), 0);
}

void folder_write_text(const char *name, const char *text)
{
    folder_write(name, text, strlen(text));
}
