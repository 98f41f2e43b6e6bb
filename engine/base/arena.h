/* A bump arena: many aligned allocations, one free. Zeroed memory. One owner, no locking.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_BASE_ARENA_H
#define RESNETD_ENGINE_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    size_t bytes; /* handed out so far */
};

/* `arena` starts as {0}. TENSOR_ALIGN-aligned zeroed bytes, valid until arena_done; NULL when out
 * of memory. n = 0 gives a valid pointer to nothing. */
void *arena_alloc(struct arena *arena, size_t n);
/* The same for count elements of size bytes each, overflow-checked. */
void *arena_array(struct arena *arena, size_t count, size_t size);
void arena_done(struct arena *arena);

#endif
