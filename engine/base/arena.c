/* The bump arena: chunks from aligned_alloc in a list, the newest first. No locking.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/tensor.h"

#define CHUNK_BYTES ((size_t)256 * 1024)
#define HUGE_PAGE ((size_t)2 << 20)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size; /* bytes, this header included */
};

static size_t align_up(size_t n)
{
    return (n + TENSOR_ALIGN - 1) / TENSOR_ALIGN * TENSOR_ALIGN;
}

static struct arena_chunk *add_chunk(struct arena *arena, size_t n)
{
    size_t header = align_up(sizeof(struct arena_chunk));
    /* A large request gets a chunk of its own, so that no more than it needs is touched. */
    size_t size = header + (n > CHUNK_BYTES / 4 ? n : CHUNK_BYTES);
    /* What spans several huge pages asks for them: packed weights are read from end to end. */
    size_t align = size >= 2 * HUGE_PAGE ? HUGE_PAGE : TENSOR_ALIGN;
    struct arena_chunk *chunk = aligned_alloc(align, (size + align - 1) / align * align);
    if (!chunk)
        return NULL;
    if (align == HUGE_PAGE)
        (void)madvise(chunk, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    memset(chunk, 0, size);
    *chunk = (struct arena_chunk){.next = arena->chunks, .used = header, .size = size};
    arena->chunks = chunk;
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    n = align_up(n);
    struct arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < n) {
        chunk = add_chunk(arena, n);
        if (!chunk)
            return NULL;
    }
    void *p = (char *)chunk + chunk->used;
    chunk->used += n;
    arena->bytes += n;
    return p;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t n;
    return __builtin_mul_overflow(count, size, &n) ? NULL : arena_alloc(arena, n);
}

void arena_done(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    arena->bytes = 0;
}
