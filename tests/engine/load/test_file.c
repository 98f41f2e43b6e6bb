/* file.c: what is no model file, and files that change while they are read.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/load/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support_alloc.h"
#include "tests/support_folder.h"

#define PIECE ((size_t)1 << 20) /* what is read between two rests */
#define N_BYTES (2 * PIECE + 5)

static uint8_t *written;
static char path[256]; /* of a file with `written` */
static int n_rests;

static void setup(void)
{
    folder_make();
    written = malloc(N_BYTES);
    cr_assert_not_null(written);
    for (size_t i = 0; i < N_BYTES; i++)
        written[i] = (uint8_t)(i * 7 + i / 251);
    folder_write("model", written, N_BYTES);
    (void)strcpy(path, folder_file("model"));
}

static void teardown(void)
{
    free(written);
    folder_remove();
}

TestSuite(file, .init = setup, .fini = teardown, .timeout = 60);

static void expect_failure(const char *name, void (*rest)(void), enum rn_status wanted,
                           const char *part)
{
    struct rn_error err = {0};
    uint8_t *bytes = written;
    size_t n = 3;
    const enum rn_status status = file_read(name, rest, &bytes, &n, &err);
    cr_assert_eq(status, wanted, "%s: %s", rn_status_name(status), err.text);
    cr_assert_not_null(strstr(err.text, part), "\"%s\" does not say \"%s\"", err.text, part);
    cr_assert_not_null(strstr(err.text, name), "\"%s\" does not name the file", err.text);
    cr_assert(bytes == written && n == 3, "results are left alone");
}

static void count_rest(void)
{
    n_rests++;
}

Test(file, is_read_in_pieces_with_rests_between_them)
{
    struct rn_error err;
    uint8_t *bytes;
    size_t n;
    cr_assert_eq(file_read(path, count_rest, &bytes, &n, &err), RN_OK);
    cr_assert_eq(n, N_BYTES);
    cr_assert_eq(memcmp(bytes, written, N_BYTES), 0);
    cr_assert_eq(n_rests, 3);
    free(bytes);
}

Test(file, may_be_empty)
{
    struct rn_error err;
    uint8_t *bytes = NULL;
    size_t n = 1;
    folder_write("empty", "", 0);
    cr_assert_eq(file_read(folder_file("empty"), count_rest, &bytes, &n, &err), RN_OK);
    cr_assert_not_null(bytes);
    cr_assert_eq(n, 0);
    cr_assert_eq(n_rests, 0);
    free(bytes);
}

Test(file, must_be_there)
{
    expect_failure(folder_file("missing"), NULL, RN_IO, "No such file");
}

/* Nobody writes to the FIFO: opening it must not wait for that. */
Test(file, must_be_a_regular_file)
{
    cr_assert_eq(mkfifo(folder_file("fifo"), 0600), 0);
    expect_failure(folder_file("fifo"), NULL, RN_IO, "not a regular file");
    expect_failure(folder_path(), NULL, RN_IO, "not a regular file");
    expect_failure("/dev/null", NULL, RN_IO, "not a regular file");
}

/* It has no blocks, so that a machine with little memory or disk can tell, too. */
Test(file, has_a_largest_size)
{
    folder_write("large", "", 0);
    cr_assert_eq(truncate(folder_file("large"), FILE_MAX_BYTES + 1), 0);
    expect_failure(folder_file("large"), NULL, RN_IO, "8589934593 bytes are too large");
}

Test(file, wants_memory)
{
    alloc_fail(1);
    expect_failure(path, NULL, RN_NO_MEMORY, "out of memory for 2097157 bytes");
}

static void shorten(void)
{
    cr_assert_eq(truncate(path, PIECE), 0);
}

Test(file, may_not_become_shorter_while_it_is_read)
{
    expect_failure(path, shorten, RN_IO, "became shorter");
}

static void lengthen(void)
{
    cr_assert_eq(truncate(path, 4 * PIECE), 0);
}

Test(file, is_what_it_was_when_it_was_opened)
{
    struct rn_error err;
    uint8_t *bytes;
    size_t n;
    cr_assert_eq(file_read(path, lengthen, &bytes, &n, &err), RN_OK);
    cr_assert_eq(n, N_BYTES);
    cr_assert_eq(memcmp(bytes, written, N_BYTES), 0);
    free(bytes);
}
