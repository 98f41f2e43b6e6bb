/* The AMX kernels on a machine without AMX and AVX-512: isa_amx.c, compiled for AVX2, with each
 * instruction that is missing as a function of C, after the pseudocode of Intel's manual (SDM
 * volume 2, 325383). What it takes from AVX-512's table it takes from AVX2's. Linked into the tests
 * in place of both (make amx), with cpu_flags wrapped, so that both are there.
 *
 * SPDX-License-Identifier: MIT */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/cpu.h"
#include "engine/kernel/kernel.h"

enum { LANES = 16, TILES = 8, TILE_ROWS = 16, PAIRS = 16 /* of bf16 in a row of a tile */ };

#define C static inline __attribute__((always_inline))

/* A tile register: sums, or words of two bf16 each. */
union tile {
    float sums[TILE_ROWS][LANES];
    uint16_t bf16[TILE_ROWS][2 * PAIRS];
};
static _Thread_local union tile registers[TILES];

/* Palette 1 is taken for granted, and that all of a tile is in use; a thread that has not asked for
 * tiles must not use them. */
static _Thread_local bool configured;

C void tile_loadconfig(const void *memory)
{
    uint8_t config[64];
    memcpy(config, memory, sizeof config);
    configured = config[0] == 1;
    for (int i = 0; i < TILES; i++)
        configured = configured && config[16 + 2 * i] == sizeof registers->sums[0] &&
                     config[17 + 2 * i] == 0 && config[48 + i] == TILE_ROWS;
    memset(registers, 0, sizeof registers);
}

C union tile *tile(int i)
{
    if (!configured)
        __builtin_trap();
    return &registers[i];
}

C void tile_loadd(int i, const void *memory, size_t stride)
{
    union tile *t = tile(i);
    for (int row = 0; row < TILE_ROWS; row++)
        memcpy(t->sums[row], (const char *)memory + (size_t)row * stride, sizeof t->sums[row]);
}

C void tile_stored(int i, void *memory, size_t stride)
{
    const union tile *t = tile(i);
    for (int row = 0; row < TILE_ROWS; row++)
        memcpy((char *)memory + (size_t)row * stride, t->sums[row], sizeof t->sums[row]);
}

C float bf16_to_fp32(uint16_t bf16)
{
    const uint32_t bits = (uint32_t)bf16 << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* TDPBF16PS: even and odd products are summed apart, each by fused multiply-adds. */
C void tile_dpbf16ps(int sums, int a, int b)
{
    union tile *to = tile(sums);
    const union tile *in = tile(a), *weights = tile(b);
    for (int row = 0; row < TILE_ROWS; row++) {
        float even[LANES] = {0}, odd[LANES] = {0};
        for (int k = 0; k < PAIRS; k++) {
            const float x = bf16_to_fp32(in->bf16[row][2 * k]);
            const float y = bf16_to_fp32(in->bf16[row][2 * k + 1]);
            for (int n = 0; n < LANES; n++) {
                even[n] = __builtin_fmaf(x, bf16_to_fp32(weights->bf16[k][2 * n]), even[n]);
                odd[n] = __builtin_fmaf(y, bf16_to_fp32(weights->bf16[k][2 * n + 1]), odd[n]);
            }
        }
        for (int n = 0; n < LANES; n++)
            to->sums[row][n] += even[n] + odd[n];
    }
}

C void tile_release(void)
{
    configured = false;
}

/* VCVTNEPS2BF16: to the nearest, ties to even; denormals become zero, NaN stays NaN. */
C uint16_t fp32_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7f800000) == 0)
        return (uint16_t)(bits >> 16 & 0x8000);
    if (value != value)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- AVX-512F: vectors of the compiler's, which it makes of two of AVX2's ----------------------
 */

typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));

C __m256i cvtneps_pbh(__m512 a)
{
    u16x16 out;
    for (int i = 0; i < LANES; i++)
        out[i] = fp32_to_bf16(a[i]);
    return (__m256i)out;
}

C __m512i join(__m256i low, __m256i high)
{
    __m512i out;
    memcpy(&out, &low, sizeof low);
    memcpy((char *)&out + sizeof low, &high, sizeof high);
    return out;
}

/* VCVTNE2PS2BF16: the second operand goes into the lower half. */
C __m512i cvtne2ps_pbh(__m512 a, __m512 b)
{
    return join(cvtneps_pbh(b), cvtneps_pbh(a));
}

C __m256i extracti64x4(__m512i a, int half)
{
    __m256i out;
    memcpy(&out, (const char *)&a + half * (int)sizeof out, sizeof out);
    return out;
}

C __m512i cvtepu16_epi32(__m256i a)
{
    return (__m512i) __builtin_convertvector((u16x16)a, u32x16);
}

C __m512 load_ps(const void *memory)
{
    return *(const __m512 *)memory;
}

C void store_ps(void *memory, __m512 a)
{
    *(__m512 *)memory = a;
}

C void store_si512(void *memory, __m512i a)
{
    *(__m512i *)memory = a;
}

C __m512 maskz_loadu_ps(unsigned mask, const void *memory)
{
    __m512 out = {0};
    for (int i = 0; i < LANES; i++)
        if (mask >> i & 1)
            memcpy((float *)&out + i, (const float *)memory + i, sizeof(float));
    return out;
}

C void mask_storeu_epi32(void *memory, unsigned mask, __m512i a)
{
    for (int i = 0; i < LANES; i++)
        if (mask >> i & 1)
            memcpy((uint32_t *)memory + i, (const uint32_t *)&a + i, sizeof(uint32_t));
}

/* MAXPS: the second operand where one is no number. */
C __m512 max_ps(__m512 a, __m512 b)
{
    for (int i = 0; i < LANES; i++)
        a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}

C __m512 set1_ps(float value)
{
    return (__m512){0} + value;
}

C __m512i permutex2var_epi32(__m512i a, __m512i index, __m512i b)
{
    u32x16 out;
    for (int i = 0; i < LANES; i++) {
        const uint32_t at = ((u32x16)index)[i];
        out[i] = ((u32x16)(at & LANES ? b : a))[at % LANES];
    }
    return (__m512i)out;
}

#undef _tile_loadconfig
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_release
#undef _mm512_extracti64x4_epi64
#undef _mm512_slli_epi32
#undef _mm512_setr_epi32
#define _tile_loadconfig tile_loadconfig
#define _tile_loadd tile_loadd
#define _tile_stored tile_stored
#define _tile_dpbf16ps tile_dpbf16ps
#define _tile_release tile_release
#define _mm512_cvtneps_pbh cvtneps_pbh
#define _mm512_cvtne2ps_pbh cvtne2ps_pbh
#define _mm512_castsi512_si256(a) extracti64x4(a, 0)
#define _mm512_castsi512_ps(a) ((__m512)(a))
#define _mm512_extracti64x4_epi64 extracti64x4
#define _mm512_cvtepu16_epi32 cvtepu16_epi32
#define _mm512_load_ps load_ps
#define _mm512_store_ps store_ps
#define _mm512_store_si512 store_si512
#define _mm512_maskz_loadu_ps maskz_loadu_ps
#define _mm512_mask_storeu_epi32 mask_storeu_epi32
#define _mm512_max_ps max_ps
#define _mm512_set1_ps set1_ps
#define _mm512_setzero_ps() ((__m512){0})
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_sub_ps(a, b) ((a) - (b))
#define _mm512_or_si512(a, b) ((a) | (b))
#define _mm512_slli_epi32(a, n) ((__m512i)((u32x16)(a) << (n)))
#define _mm512_add_epi32(a, b) ((__m512i)((u32x16)(a) + (u32x16)(b)))
#define _mm512_set1_epi32(a) ((__m512i)((u32x16){0} + (a)))
#define _mm512_setr_epi32(...) ((__m512i)(u32x16){__VA_ARGS__})
#define _mm512_permutex2var_epi32 permutex2var_epi32

#include "engine/kernel/isa_amx.c"

void kernels_init_avx2(struct kernels *kernels);
void kernels_init_avx512(struct kernels *kernels)
{
    kernels_init_avx2(kernels);
    kernels->name = "avx512";
}

unsigned __real_cpu_flags(void);
unsigned __wrap_cpu_flags(void);
unsigned __wrap_cpu_flags(void)
{
    return __real_cpu_flags() | CPU_AVX512F | CPU_AVX512BF16 | CPU_AMXBF16;
}
