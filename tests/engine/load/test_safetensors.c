/* safetensors.c: what a valid file gives, and that every damaged one is refused with a sentence.
 *
 * Files are put together here from a header text and bytes of data.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "engine/load/weights.h"

struct file {
    uint8_t *bytes;
    size_t n;
};

/* Length, header, then n_data bytes 0, 1, 2, … */
static struct file file_make(const char *header, size_t n_data)
{
    size_t n_header = strlen(header);
    struct file file = {.n = 8 + n_header + n_data};
    file.bytes = malloc(file.n);
    cr_assert_not_null(file.bytes);
    for (int i = 0; i < 8; i++)
        file.bytes[i] = (uint8_t)((uint64_t)n_header >> 8 * i);
    memcpy(file.bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++)
        file.bytes[8 + n_header + i] = (uint8_t)i;
    return file;
}

static enum rn_status file_read(const char *header, size_t n_data, char *message, size_t n)
{
    struct file file = file_make(header, n_data);
    struct weights weights = {0};
    struct rn_error err = {0};
    enum rn_status status = safetensors_read(file.bytes, file.n, "a.safetensors", &weights, &err);
    if (status) {
        cr_assert_null(weights.items, "the result was touched on failure");
        cr_assert_null(weights.storage);
        cr_assert_neq(err.text[0], '\0', "a refusal without a sentence");
    } else {
        weights_done(&weights);
    }
    if (message)
        (void)snprintf(message, n, "%s", err.text);
    free(file.bytes);
    return status;
}

static void expect_refused(const char *header, size_t n_data, const char *part)
{
    char message[256];
    enum rn_status status = file_read(header, n_data, message, sizeof message);
    cr_assert_eq(status, RN_BAD_MODEL, "%s gave %s", header, rn_status_name(status));
    cr_assert_not_null(strstr(message, part), "\"%s\" does not say \"%s\"", message, part);
    cr_assert_not_null(strstr(message, "a.safetensors"), "\"%s\" names no file", message);
}

static const char two_tensors[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"resnetd.name\":\"pärt \\u2192 x\"},"
    "\"b.weight\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
    "\"module.a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
    "\"b.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[16,24]}}   ";

Test(safetensors, lists_tensors_by_name_with_prefixes_dropped)
{
    struct file file = file_make(two_tensors, 24);
    struct weights weights;
    cr_assert_eq(safetensors_read(file.bytes, file.n, "x", &weights, NULL), RN_OK);
    cr_assert_eq(weights.n, 3);
    cr_assert_str_eq(weights.items[0].name, "a");
    cr_assert_str_eq(weights.items[1].name, "b.num_batches_tracked");
    cr_assert_str_eq(weights.items[2].name, "b.weight");

    const struct weight *b = weights_find(&weights, "b.weight");
    cr_assert_eq(b, &weights.items[2]);
    cr_assert_eq(b->type, WEIGHT_F16);
    cr_assert_eq(b->n_dims, 2);
    cr_assert_eq(b->shape[0], 2);
    cr_assert_eq(b->shape[1], 3);
    cr_assert_eq(b->count, 6);
    cr_assert_eq(b->data, file.bytes + file.n - 20);
    cr_assert_not(b->used);
    cr_assert_eq(weights.items[1].type, WEIGHT_I64);
    cr_assert_eq(weights.items[1].n_dims, 0);
    cr_assert_eq(weights.items[1].count, 1);
    cr_assert_null(weights_find(&weights, "b.bias"));

    cr_assert_str_eq(weights_text(&weights, "format"), "pt");
    cr_assert_str_eq(weights_text(&weights, "resnetd.name"), "pärt → x");
    cr_assert_null(weights_text(&weights, "resnetd.labels"));
    weights_done(&weights);
    free(file.bytes);
}

Test(safetensors, drops_every_known_prefix)
{
    static const char header[] =
        "{\"module.model.a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
        "\"backbone.b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]},"
        "\"models.c\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[4,6]}}";
    struct file file = file_make(header, 6);
    struct weights weights;
    cr_assert_eq(safetensors_read(file.bytes, file.n, "x", &weights, NULL), RN_OK);
    cr_assert_not_null(weights_find(&weights, "a"));
    cr_assert_not_null(weights_find(&weights, "b"));
    cr_assert_not_null(weights_find(&weights, "models.c"));
    weights_done(&weights);
    free(file.bytes);
}

Test(safetensors, refuses_a_file_cut_at_any_byte)
{
    struct file file = file_make(two_tensors, 24);
    for (size_t n = 0; n < file.n; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* its own block: a sanitizer sees any read beyond */
        cr_assert_not_null(cut);
        memcpy(cut, file.bytes, n);
        struct weights weights;
        struct rn_error err = {0};
        cr_assert_eq(safetensors_read(cut, n, "x", &weights, &err), RN_BAD_MODEL, "%zu bytes", n);
        cr_assert_neq(err.text[0], '\0');
        free(cut);
    }
    free(file.bytes);
}

Test(safetensors, survives_every_change_of_a_header_byte)
{
    struct file file = file_make(two_tensors, 24);
    for (size_t i = 0; i < 8 + strlen(two_tensors); i++) {
        uint8_t good = file.bytes[i];
        for (int value = 0; value < 256; value++) {
            file.bytes[i] = (uint8_t)value;
            struct weights weights;
            struct rn_error err = {0};
            enum rn_status status = safetensors_read(file.bytes, file.n, "x", &weights, &err);
            if (i < 8)
                cr_assert(value == good ? status == RN_OK : status == RN_BAD_MODEL);
            if (status) { /* else a name, a text or a blank became another valid one */
                cr_assert_neq(err.text[0], '\0');
                continue;
            }
            size_t covered = 0;
            for (size_t k = 0; k < weights.n; k++) {
                cr_assert_geq(weights.items[k].data, file.bytes);
                covered += weights.items[k].count;
            }
            cr_assert_eq(covered, 8);
            weights_done(&weights);
        }
        file.bytes[i] = good;
    }
    free(file.bytes);
}

Test(safetensors, refuses_an_absurd_header_length)
{
    static const uint64_t lengths[] = {0,
                                       1,
                                       24u << 20,
                                       1u << 31,
                                       UINT32_MAX,
                                       1ull << 32,
                                       0x8000000000000000,
                                       UINT64_MAX,
                                       UINT64_MAX - 7};
    struct file file = file_make(two_tensors, 24);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (int b = 0; b < 8; b++)
            file.bytes[b] = (uint8_t)(lengths[i] >> 8 * b);
        struct weights weights;
        cr_assert_eq(safetensors_read(file.bytes, file.n, "x", &weights, NULL), RN_BAD_MODEL);
    }
    free(file.bytes);
}

Test(safetensors, refuses_a_header_with_more_items_than_any_resnet)
{
    size_t n = (size_t)1 << 20;
    char *header = malloc(n + 1);
    cr_assert_not_null(header);
    memset(header, '[', n);
    memcpy(header, "{\"a\":[", 6);
    for (size_t i = 6; i + 2 < n; i += 3)
        memcpy(header + i, "{},", 3);
    header[n] = '\0';
    expect_refused(header, 0, "the limit is 131072");
    free(header);
}

#define TENSOR(dtype, shape, offsets)                                                              \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}}"

Test(safetensors, refuses_headers_that_are_not_one_json_object)
{
    expect_refused("[1]", 0, "begin with '{'");
    expect_refused(" {}", 0, "begin with '{'");
    expect_refused("{}", 0, "no tensor");
    expect_refused("{}", 4, "no tensor");
    expect_refused("{\"__metadata__\":{}}", 0, "no tensor");
    expect_refused("{\"a\":1}", 0, "a: expected exactly");
    expect_refused("{\"a\":{}} {}", 0, "header");
    expect_refused("{\"a\":{}", 0, "header");
    expect_refused("{\"a\xff\":{}}", 0, "header");
    expect_refused("{\"a\\u0000b\":{}}", 0, "header");
}

Test(safetensors, refuses_duplicate_keys)
{
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                   "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                   8, "duplicate");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],"
                   "\"data_offsets\":[0,4]}}",
                   4, "duplicate");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                   "\"model.a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                   8, "a is there twice");
}

Test(safetensors, refuses_tensors_that_are_not_described_exactly)
{
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "a: expected exactly");
    expect_refused("{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                   "a: expected exactly");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
                   "a: expected exactly");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4,
                   "a: shape is not a list");
    expect_refused(TENSOR("F32", "\"1\"", "0,4"), 4, "a: dimension 0");
    expect_refused(TENSOR("F32", "1.0", "0,4"), 4, "a: dimension 0");
    expect_refused(TENSOR("F32", "1,-1", "0,4"), 4, "a: dimension 1");
    expect_refused(TENSOR("F32", "0", "0,0"), 0, "a: dimension 0");
    expect_refused(TENSOR("F32", "1", "0"), 4, "a: data_offsets");
    expect_refused(TENSOR("F32", "1", "0,4,8"), 4, "a: data_offsets");
    expect_refused(TENSOR("F32", "1", "0.0,4"), 4, "a: data_offsets");
    expect_refused(TENSOR("F32", "1", "0,\"4\""), 4, "a: data_offsets");
    expect_refused("{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "name");
    expect_refused("{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                   "name");
}

Test(safetensors, refuses_shapes_and_ranges_that_do_not_fit)
{
    expect_refused(TENSOR("F32", "2,3", "0,20"), 20, "2×3 needs 6 times 4");
    expect_refused(TENSOR("F16", "2,3", "0,24"), 24, "a: data_offsets [0, 24] hold 24 bytes");
    expect_refused(TENSOR("F32", "1", "0,8"), 4, "not inside the 4 bytes");
    expect_refused(TENSOR("F32", "1", "4,0"), 4, "not inside");
    expect_refused(TENSOR("F32", "1", "-4,0"), 4, "not inside");
}

Test(safetensors, refuses_absurd_sizes)
{
    expect_refused(TENSOR("F32", "2147483648", "0,4"), 4, "a: data_offsets");
    expect_refused(TENSOR("F32", "2147483648,2147483648", "0,4"), 4, "a: data_offsets");
    expect_refused(TENSOR("F32", "4611686018427387904", "0,0"), 0, "a: data_offsets");
    expect_refused(TENSOR("F32", "9223372036854775807", "0,4"), 4, "a: data_offsets");
    expect_refused(TENSOR("F32", "2147483648,2147483648,4", "0,0"), 0, "a: dimension 2");
    expect_refused(TENSOR("F32", "4294967296,4294967296", "0,0"), 0, "a: dimension 1");
    expect_refused(TENSOR("F32", "9223372036854775808", "0,4"), 4, "too big integer");
    expect_refused(TENSOR("F32", "1", "0,9223372036854775807"), 4, "not inside");
    expect_refused(TENSOR("F32", "1", "0,9223372036854775808"), 4, "too big integer");
    expect_refused(TENSOR("F32", "1", "2147483648,2147483652"), 4, "not inside");
}

Test(safetensors, refuses_holes_overlaps_and_leftovers)
{
    static const char two[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%d,%d]},"
                              "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%d,%d]}}";
    static const struct {
        int a, b;
        size_t n_data;
        const char *part;
    } cases[] = {
        {0, 8, 12, "b begins at byte 8 of the data, the tensors before it end at byte 4"},
        {8, 0, 12, "a begins at byte 8"},
        {0, 2, 8, "b begins at byte 2"},
        {0, 0, 4, "begins at byte 0 of the data, the tensors before it end at byte 4"},
        {4, 8, 12, "a begins at byte 4 of the data, the tensors before it end at byte 0"},
        {0, 4, 12, "the tensors end at byte 8, the data has 12 bytes"},
        {4, 0, 9, "the tensors end at byte 8, the data has 9 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[256];
        (void)snprintf(header, sizeof header, two, cases[i].a, cases[i].a + 4, cases[i].b,
                       cases[i].b + 4);
        expect_refused(header, cases[i].n_data, cases[i].part);
    }
}

Test(safetensors, says_what_it_does_not_support)
{
    char message[256];
    static const char *const dtypes[] = {"F64", "I32", "U8", "BOOL", "F8_E4M3", "f32", ""};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        char header[128];
        (void)snprintf(header, sizeof header,
                       "{\"a\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                       dtypes[i]);
        cr_assert_eq(file_read(header, 4, message, sizeof message), RN_UNSUPPORTED_MODEL);
        cr_assert_not_null(strstr(message, "a: dtype"));
        cr_assert_not_null(strstr(message, dtypes[i]));
    }
    cr_assert_eq(file_read(TENSOR("F32", "1,1,1,1,1", "0,4"), 4, message, sizeof message),
                 RN_UNSUPPORTED_MODEL);
    cr_assert_not_null(strstr(message, "5 dimensions"));
}

Test(safetensors, refuses_metadata_that_is_not_texts)
{
    expect_refused("{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
    expect_refused("{\"__metadata__\":{\"k\":1}}", 0, "the value of k in __metadata__");
    expect_refused("{\"__metadata__\":{\"k\":{}}}", 0, "the value of k in __metadata__");
}
