/* The bump arena: chunks in a list, the newest first. No locking.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/huge.h"
#include "engine/base/tensor.h"

#define CHUNK_BYTES ((size_t)256 * 1024)
#define LARGE_BYTES ((size_t)1 << 20) /* an arena that has grown to this goes on in */
#define LARGE_CHUNK                                                                                \
    ((size_t)64 << 20) /* chunks of huge pages, of which only the used ones are there */

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size; /* bytes, this header included */
    void *mapping;     /* of a large chunk, which begins somewhere inside; NULL: from the heap */
    size_t mapped;
};

static size_t align_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* What spans several huge pages asks for them: packed weights are read from end to end. The kernel
 * has zeroed them. */
static struct arena_chunk *map_chunk(size_t size)
{
    const size_t mapped = size + HUGE_PAGE;
    if (mapped < size)
        return NULL;
    void *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    struct arena_chunk *chunk =
        (struct arena_chunk *)((char *)p + align_up((uintptr_t)p, HUGE_PAGE) - (uintptr_t)p);
    (void)madvise(chunk, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    chunk->mapping = p;
    chunk->mapped = mapped;
    return chunk;
}

static struct arena_chunk *add_chunk(struct arena *arena, size_t n)
{
    const size_t header = align_up(sizeof(struct arena_chunk), TENSOR_ALIGN);
    /* A large request gets a chunk of its own, so that no more than it needs is touched. */
    size_t size = header + (n > CHUNK_BYTES / 4 ? n : CHUNK_BYTES);
    if (arena->bytes > LARGE_BYTES && size < LARGE_CHUNK)
        size = LARGE_CHUNK;
    struct arena_chunk *chunk;
    if (size >= 2 * HUGE_PAGE) {
        chunk = map_chunk(size);
    } else {
        chunk = aligned_alloc(TENSOR_ALIGN, size);
        if (chunk)
            memset(chunk, 0, size);
    }
    if (!chunk)
        return NULL;
    chunk->next = arena->chunks;
    chunk->used = header;
    chunk->size = size;
    arena->chunks = chunk;
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    n = align_up(n, TENSOR_ALIGN);
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
        if (arena->chunks->mapping)
            (void)munmap(arena->chunks->mapping, arena->chunks->mapped);
        else
            free(arena->chunks);
        arena->chunks = next;
    }
    arena->bytes = 0;
}
