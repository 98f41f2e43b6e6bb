/* Memory that is large enough for huge pages to be worth it: fewer faults, fewer misses of the TLB.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_BASE_HUGE_H
#define RESNETD_ENGINE_BASE_HUGE_H

#include <stddef.h>

#define HUGE_PAGE ((size_t)2 << 20) /* bytes */

/* `bytes` of memory, aligned to TENSOR_ALIGN; from two huge pages on to one, and the kernel is
 * asked for them. NULL when out of memory; the caller frees it with free(). */
void *huge_alloc(size_t bytes);

#endif
