/* Which kernel tables there are: the rows of isa.def that this build has and this CPU can run.
 * The list is made before main() and read-only afterwards; any thread.
 *
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <string.h>

#include "engine/base/cpu.h"
#include "engine/kernel/kernel.h"

/* A row of another architecture vanishes: ISA_x86(...) is empty on ARM. */
#define ISA_any(...) __VA_ARGS__
#if defined(__x86_64__)
#define ISA_x86(...) __VA_ARGS__
#define ISA_arm64(...)
#elif defined(__aarch64__)
#define ISA_x86(...)
#define ISA_arm64(...) __VA_ARGS__
#else
#define ISA_x86(...)
#define ISA_arm64(...)
#endif

#define ISA(arch, name, flags, cflags) ISA_##arch(void kernels_init_##name(struct kernels *);)
#include "engine/kernel/isa.def"
#undef ISA

static const struct {
    unsigned flags;
    void (*init)(struct kernels *);
} rows[] = {
#define ISA(arch, name, flags, cflags) ISA_##arch({(flags), kernels_init_##name}, )
#include "engine/kernel/isa.def"
#undef ISA
};

#define N_ROWS (sizeof rows / sizeof *rows)

static struct kernels tables[N_ROWS];
static size_t n_tables;

__attribute__((constructor)) static void make_tables(void)
{
    unsigned have = cpu_flags();
    for (size_t i = 0; i < N_ROWS; i++) {
        if ((rows[i].flags & have) != rows[i].flags)
            continue;
        struct kernels *k = &tables[n_tables++];
        rows[i].init(k);
        for (int kind = 0; kind < WINOGRAD_KINDS; kind++)
            assert(k->winograd_out[kind] && (kind == WINOGRAD_STEM || k->winograd_in[kind]));
        assert(k->gemm && k->winograd_in_stem && k->winograd_pool_stem && k->multiply_add);
        assert(k->name && k->conv && k->max && k->larger && k->mean && k->affine && k->add);
        assert(k->strassen_in && k->strassen_out && k->strassen_channels > 0);
        assert(!k->bf16x3 == !k->bf16x3_split && !k->bf16x3 == !k->bf16x3_pixels);
        assert(k->conv_rows >= 1 && k->conv_rows <= KERNEL_MAX_ROWS);
        assert(k->conv_blocks == 1 || k->conv_blocks == 2);
    }
}

size_t kernels_count(void)
{
    return n_tables;
}

const struct kernels *kernels_at(size_t i)
{
    assert(i < n_tables);
    return &tables[i];
}

const struct kernels *kernels_find(const char *name)
{
    if (!name)
        return &tables[n_tables - 1];
    for (size_t i = 0; i < n_tables; i++)
        if (strcmp(tables[i].name, name) == 0)
            return &tables[i];
    return NULL;
}
