/* What an idle connection gives back of its memory: whole pages of zeros, and nothing that counts.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/http_internal.h"

static char *pool;

static void setup(void)
{
    pool = malloc(HTTP_CONNECTION_MEMORY);
    cr_assert_not_null(pool);
    memset(pool, 0, HTTP_CONNECTION_MEMORY);
}

static void teardown(void)
{
    free(pool);
}

TestSuite(http_memory, .init = setup, .fini = teardown);

static size_t n_resident(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char resident[HTTP_CONNECTION_MEMORY / 4096 + 1];
    const uintptr_t first = ((uintptr_t)pool + page - 1) / page * page;
    const size_t n = ((uintptr_t)pool + HTTP_CONNECTION_MEMORY - first) / page;
    size_t sum = 0;
    cr_assert_eq(mincore((void *)first, n * page, resident), 0);
    for (size_t i = 0; i < n; i++)
        sum += resident[i] & 1;
    return sum;
}

Test(http_memory, gives_back_pages_of_zeros_once)
{
    struct http_conn conn = {.memory = pool};
    pool[0] = 'G';
    cr_assert_gt(n_resident(), 0);
    cr_assert(http_memory_release(&conn));
    cr_assert_eq(n_resident(), 0);
    cr_assert_not(http_memory_release(&conn), "again for nothing");
    cr_assert_eq(pool[0], 'G');
    for (size_t i = 1; i < HTTP_CONNECTION_MEMORY; i++)
        cr_assert_eq(pool[i], 0);
}

Test(http_memory, keeps_what_is_not_zero)
{
    struct http_conn conn = {.memory = pool};
    pool[HTTP_CONNECTION_MEMORY / 2] = 'x';
    cr_assert_not(http_memory_release(&conn));
    cr_assert_eq(pool[HTTP_CONNECTION_MEMORY / 2], 'x');
}

Test(http_memory, keeps_what_it_does_not_know)
{
    struct http_conn conn = {.fresh = true};
    http_memory_found(&conn, pool); /* it did not begin with a request line */
    cr_assert_not(http_memory_release(&conn));
}
