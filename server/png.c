/* PNG by stb_image_write, in memory only. Any thread; one encoding at a time in each.
 *
 * stb takes it for granted that there is memory. Its allocations go through ours, which leave by
 * longjmp when there is none: then everything that it had taken is given back, and the answer is
 * NULL. stb's settings are left at their defaults.
 *
 * SPDX-License-Identifier: MIT */
#include "server/png.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* In front of each allocation; a multiple of malloc's alignment. */
struct block {
    struct block *next, **link; /* *link == this one */
};

static _Thread_local struct {
    struct block *blocks;
    jmp_buf no_memory;
} job;

static void insert(struct block *block)
{
    *block->link = block;
    if (block->next)
        block->next->link = &block->next;
}

static void *allocate(void *old, size_t n)
{
    struct block *before = old ? (struct block *)old - 1 : NULL;
    struct block *block = n <= SIZE_MAX - sizeof *block ? realloc(before, sizeof *block + n) : NULL;
    if (!block)
        longjmp(job.no_memory, 1);
    if (!before)
        *block = (struct block){job.blocks, &job.blocks};
    insert(block);
    return block + 1;
}

static void release(void *p)
{
    struct block *block = p ? (struct block *)p - 1 : NULL;
    if (!block)
        return;
    *block->link = block->next;
    if (block->next)
        block->next->link = block->link;
    free(block);
}

#define STBIW_MALLOC(n) allocate(NULL, n)
#define STBIW_REALLOC(p, n) allocate(p, n)
#define STBIW_FREE(p) release(p)
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

/* Into a block of the job's. */
static unsigned char *encode(const uint8_t *rgb, int width, int height, int *length)
{
    job.blocks = NULL;
    return setjmp(job.no_memory) == 0
               ? stbi_write_png_to_mem(rgb, 3 * width, width, height, 3, length)
               : NULL;
}

char *png_encode(const uint8_t *rgb, int width, int height, size_t *n)
{
    int length = 0;
    const unsigned char *png = encode(rgb, width, height, &length);
    char *file = png ? malloc((size_t)length) : NULL;
    if (file) {
        memcpy(file, png, (size_t)length);
        *n = (size_t)length;
    }
    while (job.blocks)
        release(job.blocks + 1);
    return file;
}
