/* meta.c: metadata, the labels file, defaults, the order of belief, and refusals.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "engine/load/meta.h"
#include "tests/support_folder.h"

TestSuite(meta, .init = folder_make, .fini = folder_remove);

/* ---- helpers ------------------------------------------------------------------------------- */

/* Reads `texts`, ended by one without a key, as the metadata of a file in the test's folder. */
static enum rn_status read_texts(const struct weights_text *texts, struct meta *meta,
                                 struct rn_error *err)
{
    struct weights_text copy[16];
    struct weights weights = {.texts = copy};
    for (; texts->key; texts++)
        copy[weights.n_texts++] = *texts;
    return meta_read(&weights, folder_path(), meta, err);
}

static void read_ok(const struct weights_text *texts, struct meta *meta)
{
    struct rn_error err = {0};
    enum rn_status status = read_texts(texts, meta, &err);
    cr_assert_eq(status, RN_OK, "%s", err.text);
}

static void expect_refused(const struct weights_text *texts, const char *part)
{
    struct meta meta = {.n_ids = 77};
    struct rn_error err = {0};
    enum rn_status status = read_texts(texts, &meta, &err);
    cr_assert_eq(status, RN_BAD_MODEL, "%s: %s", rn_status_name(status), err.text);
    cr_assert_not_null(strstr(err.text, part), "\"%s\" does not say \"%s\"", err.text, part);
    cr_assert_eq(meta.n_ids, 77, "the result was touched on failure");
}

static const struct weights_text nothing[] = {{0}};

static void expect_bad_preprocess(const char *json, const char *part)
{
    const struct weights_text pairs[] = {
        {"resnetd.preprocess", json},
        {0},
    };
    expect_refused(pairs, "resnetd.preprocess");
    expect_refused(pairs, part);
}

static void expect_recipe(const struct meta *meta, int resize, int crop,
                          enum rn_interpolation interpolation, float mean0, float std2)
{
    cr_assert_eq(meta->recipe.resize, resize, "resize is %d", meta->recipe.resize);
    cr_assert_eq(meta->recipe.crop, crop, "crop is %d", meta->recipe.crop);
    cr_assert_eq(meta->recipe.interpolation, interpolation);
    cr_assert_eq(meta->recipe.mean[0], mean0);
    cr_assert_eq(meta->recipe.std[2], std2);
}

/* ---- metadata ------------------------------------------------------------------------------ */

Test(meta, reads_every_key)
{
    static const struct weights_text pairs[] = {
        {"format", "pt"},
        {"resnetd.name", "flowers"},
        {"resnetd.version", "3"},
        {"resnetd.source", "our garden"},
        {"resnetd.accuracy", "91 %"},
        {"resnetd.labels", "rose\nдуб\nivy, English"},
        {"resnetd.ids", "n1\nn2\nn3"},
        {"resnetd.preprocess", "{\"resize\": 128, \"crop\": 112, \"interpolation\": \"bicubic\","
                               " \"mean\": [0.5, 0.25, 0], \"std\": [1, 0.5, 0.125]}"},
        {"resnetd.topology", "{\"stride_in_1x1\": true}"},
        {0},
    };
    struct meta meta;
    read_ok(pairs, &meta);
    cr_assert_str_eq(meta.name, "flowers");
    cr_assert_str_eq(meta.version, "3");
    cr_assert_str_eq(meta.source, "our garden");
    cr_assert_str_eq(meta.accuracy, "91 %");
    cr_assert_eq(meta.n_labels, 3);
    cr_assert_str_eq(meta.labels[0], "rose");
    cr_assert_str_eq(meta.labels[1], "дуб");
    cr_assert_str_eq(meta.labels[2], "ivy, English");
    cr_assert_eq(meta.n_ids, 3);
    cr_assert_str_eq(meta.ids[2], "n3");
    cr_assert(meta.stride_in_1x1);
    cr_assert_eq(meta_settle(&meta, 3, true, NULL), RN_OK);
    expect_recipe(&meta, 128, 112, RN_BICUBIC, 0.5f, 0.125f);
    cr_assert_eq(meta.recipe.mean[1], 0.25f);
    cr_assert_eq(meta.recipe.mean[2], 0.0f);
    meta_done(&meta);
}

Test(meta, says_nothing_where_the_file_says_nothing)
{
    struct meta meta;
    read_ok(nothing, &meta);
    cr_assert_null(meta.name);
    cr_assert_null(meta.accuracy);
    cr_assert_null(meta.labels);
    cr_assert_null(meta.ids);
    cr_assert_not(meta.has_resize || meta.has_crop || meta.has_mean_std);
    cr_assert_not(meta.stride_in_1x1);
    meta_done(&meta);
}

Test(meta, refuses_recipes_that_make_no_sense)
{
    expect_bad_preprocess("", "line 1");
    expect_bad_preprocess("[224]", "JSON object");
    expect_bad_preprocess("{\"crop\": 224, \"crop\": 225}", "duplicate");
    expect_bad_preprocess("{\"cropp\": 224}", "the key cropp is not known");
    expect_bad_preprocess("{\"crop\": 0}", "crop must be a whole number from 1 to 2896");
    expect_bad_preprocess("{\"crop\": 4097}", "crop must be");
    expect_bad_preprocess("{\"crop\": 224.5}", "crop must be");
    expect_bad_preprocess("{\"resize\": -1}", "resize must be");
    expect_bad_preprocess("{\"resize\": 4294967520}", "resize must be");
    expect_bad_preprocess("{\"interpolation\": \"nearest\"}", "bilinear or bicubic");
    expect_bad_preprocess("{\"mean\": [0.5, 0.5, 0.5]}", "std must be");
    expect_bad_preprocess("{\"std\": [0.5, 0.5, 0.5]}", "mean must be three numbers");
    expect_bad_preprocess("{\"mean\": [0, 0], \"std\": [1, 1, 1]}", "mean must be");
    expect_bad_preprocess("{\"mean\": [0, 0, \"0\"], \"std\": [1, 1, 1]}", "mean must be");
    expect_bad_preprocess("{\"mean\": [0, 0, 1e39], \"std\": [1, 1, 1]}", "mean must be");
    expect_bad_preprocess("{\"mean\": [0, 0, 0], \"std\": [1, 0, 1]}", "above 0");
    expect_bad_preprocess("{\"mean\": [0, 0, 0], \"std\": [1, 1, 1e-60]}", "above 0");
    expect_bad_preprocess("{\"mean\": [0, 0, 0], \"std\": [1, 1, -1]}", "above 0");
}

Test(meta, refuses_a_topology_it_does_not_know)
{
    static const struct weights_text unknown[] = {
        {"resnetd.topology", "{\"dilation\": 2}"},
        {0},
    };
    static const struct weights_text number[] = {
        {"resnetd.topology", "{\"stride_in_1x1\": 1}"},
        {0},
    };
    expect_refused(unknown, "resnetd.topology: the key dilation");
    expect_refused(number, "stride_in_1x1 must be true or false");
}

/* ---- settling ------------------------------------------------------------------------------ */

Test(meta, settles_on_imagenet_for_a_7x7_stem)
{
    struct meta meta;
    read_ok(nothing, &meta);
    cr_assert_eq(meta_settle(&meta, 1000, true, NULL), RN_OK);
    expect_recipe(&meta, 256, 224, RN_BILINEAR, 0.485f, 0.225f);
    cr_assert_eq(meta.n_labels, 1000);
    cr_assert_str_eq(meta.labels[0], "tench");
    cr_assert_str_eq(meta.labels[281], "tabby");
    cr_assert_str_eq(meta.labels[999], "toilet tissue");
    meta_done(&meta);
}

Test(meta, settles_on_cifar_for_a_3x3_stem)
{
    struct meta meta;
    read_ok(nothing, &meta);
    cr_assert_eq(meta_settle(&meta, 10, false, NULL), RN_OK);
    expect_recipe(&meta, 32, 32, RN_BILINEAR, 0.4914f, 0.2616f);
    cr_assert_eq(meta.n_labels, 10);
    cr_assert_str_eq(meta.labels[0], "0");
    cr_assert_str_eq(meta.labels[9], "9");
    meta_done(&meta);
}

Test(meta, derives_the_side_that_is_not_said_from_the_one_that_is)
{
    static const struct {
        const char *json;
        int resize, crop;
    } cases[] = {{"{\"crop\": 112}", 128, 112},
                 {"{\"resize\": 300}", 300, 224},
                 {"{\"resize\": 96}", 96, 96},
                 {"{\"crop\": 2896}", 2896, 2896}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct weights_text pairs[] = {
            {"resnetd.preprocess", cases[i].json},
            {0},
        };
        struct meta meta;
        read_ok(pairs, &meta);
        cr_assert_eq(meta_settle(&meta, 2, true, NULL), RN_OK);
        expect_recipe(&meta, cases[i].resize, cases[i].crop, RN_BILINEAR, 0.485f, 0.225f);
        meta_done(&meta);
    }
}

Test(meta, reads_golden_logits_and_refuses_what_is_none)
{
    static const char *const wrong[] = {
        "{\"logits\":[]}",          "{\"logits\":3}",   "{\"logits\":[1,null]}",
        "{\"logits\":[1e99,1e99]}", "{\"scores\":[1]}", "[1,2]",
    };
    struct weights_text pairs[] = {{"resnetd.golden", "{\"logits\":[1.5,-2]}"}, {0}};
    struct rn_error err;
    struct meta meta;
    read_ok(pairs, &meta);
    cr_assert_eq(meta.n_golden, 2);
    cr_assert_float_eq(meta.golden[0], 1.5f, 0);
    cr_assert_float_eq(meta.golden[1], -2.0f, 0);
    cr_assert_eq(meta_settle(&meta, 3, true, &err), RN_BAD_MODEL);
    cr_assert_str_eq(err.text, "resnetd.golden has 2 logits, the network has 3 classes");
    meta_done(&meta);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        pairs[0].value = wrong[i];
        expect_refused(pairs, "resnetd.golden");
    }
}

Test(meta, refuses_json_that_would_take_more_memory_than_any_recipe)
{
    static const char start[] = "{\"logits\":[{}", item[] = ",{}", end[] = "]}";
    const size_t n = 1 << 16;
    char *json = malloc(sizeof start + n * strlen(item) + sizeof end);
    cr_assert_not_null(json);
    char *at = stpcpy(json, start);
    for (size_t i = 0; i < n; i++)
        at = stpcpy(at, item);
    (void)stpcpy(at, end);
    const struct weights_text pairs[] = {{"resnetd.golden", json}, {0}};
    expect_refused(pairs, "resnetd.golden: JSON of 131075 items, the limit is 131072");
    free(json);
}

Test(meta, refuses_wrong_numbers_of_labels_and_ids)
{
    static const struct weights_text labels[] = {
        {"resnetd.labels", "a\nb\nc\n"},
        {0},
    };
    static const struct weights_text ids[] = {
        {"resnetd.labels", "a\nb"},
        {"resnetd.ids", "n1"},
        {0},
    };
    struct meta meta;
    struct rn_error err;
    read_ok(labels, &meta);
    cr_assert_eq(meta_settle(&meta, 3, true, &err), RN_BAD_MODEL);
    cr_assert_str_eq(err.text, "resnetd.labels has 4 labels, the network has 3 classes");
    meta_done(&meta);
    read_ok(ids, &meta);
    cr_assert_eq(meta_settle(&meta, 2, true, &err), RN_BAD_MODEL);
    cr_assert_str_eq(err.text, "resnetd.ids has 1 ids, the network has 2 classes");
    meta_done(&meta);
}

Test(meta, refuses_a_crop_that_does_not_fit)
{
    static const struct weights_text pairs[] = {
        {"resnetd.preprocess", "{\"resize\":224,\"crop\":225}"},
        {0},
    };
    struct meta meta;
    struct rn_error err;
    read_ok(pairs, &meta);
    cr_assert_eq(meta_settle(&meta, 2, true, &err), RN_BAD_MODEL);
    cr_assert_str_eq(err.text, "a crop of 225 pixels does not fit into images resized to 224");
    meta_done(&meta);
}

Test(meta, believes_metadata_more_than_sidecar_files)
{
    static const struct weights_text pairs[] = {
        {"resnetd.labels", "x\ny"},
        {"resnetd.preprocess", "{\"resize\": 400, \"interpolation\": \"bilinear\"}"},
        {0},
    };
    folder_write_text("config.json",
                      "{\"label_names\": [\"a\", \"b\"], \"downsample_in_bottleneck\": true,"
                      " \"pretrained_cfg\": {\"input_size\": [3, 160, 160], \"crop_pct\": 0.5,"
                      " \"interpolation\": \"bicubic\"}}");
    struct meta meta;
    read_ok(pairs, &meta);
    cr_assert_eq(meta_settle(&meta, 2, true, NULL), RN_OK);
    expect_recipe(&meta, 400, 160, RN_BILINEAR, 0.485f, 0.225f);
    cr_assert_str_eq(meta.labels[0], "x");
    cr_assert(meta.stride_in_1x1);
    meta_done(&meta);
}

Test(meta, believes_its_own_topology_more_than_sidecar_files)
{
    static const struct weights_text pairs[] = {{"resnetd.topology", "{\"stride_in_1x1\": false}"},
                                                {0}};
    folder_write_text("config.json", "{\"downsample_in_bottleneck\": true}");
    struct meta meta;
    read_ok(pairs, &meta);
    cr_assert_not(meta.stride_in_1x1);
    meta_done(&meta);
}

Test(meta, passes_on_what_is_wrong_in_a_sidecar_file)
{
    folder_write_text("config.json", "{\"label_names\": [1]}");
    expect_refused(nothing, "config.json: there is no text for label 0");
}

/* ---- the labels file ----------------------------------------------------------------------- */

static enum rn_status read_labels_file(struct meta *meta, struct rn_error *err)
{
    return meta_read_labels(meta, folder_file("labels.txt"), err);
}

Test(meta, replaces_labels_by_a_file)
{
    static const struct weights_text pairs[] = {
        {"resnetd.labels", "a\nb"},
        {0},
    };
    struct meta meta;
    read_ok(pairs, &meta);
    folder_write_text("labels.txt", "tabby, tabby cat\r\n\nтигр\r\n");
    cr_assert_eq(read_labels_file(&meta, NULL), RN_OK);
    cr_assert_eq(meta.n_labels, 3);
    cr_assert_str_eq(meta.labels[0], "tabby, tabby cat");
    cr_assert_str_eq(meta.labels[1], "");
    cr_assert_str_eq(meta.labels[2], "тигр");
    struct rn_error err;
    cr_assert_eq(meta_settle(&meta, 2, true, &err), RN_BAD_MODEL);
    cr_assert_str_eq(err.text, "the labels file has 3 labels, the network has 2 classes");
    meta_done(&meta);
}

Test(meta, keeps_labels_when_the_file_is_not_utf8_text)
{
    static const struct {
        const char *bytes;
        size_t n, at;
    } wrong[] = {{"ab\xff", 3, 2},
                 {"\xc0\x80", 2, 0},
                 {"\xe0\x9f\xbf", 3, 0},
                 {"x\xed\xa0\x80", 4, 1},
                 {"\xf4\x90\x80\x80", 4, 0},
                 {"\xe2\x82", 2, 0},
                 {"a\0b", 3, 1},
                 {"\xf0\x8f\xbf\xbf", 4, 0},
                 {"\xc3(", 2, 0},
                 {"\xe2\x82\xac\x80", 4, 3},
                 {"\xf0\x9f\x98(", 4, 0}};
    static const struct weights_text pairs[] = {
        {"resnetd.labels", "a\nb"},
        {0},
    };
    struct meta meta;
    read_ok(pairs, &meta);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rn_error err;
        char part[64];
        folder_write("labels.txt", wrong[i].bytes, wrong[i].n);
        cr_assert_eq(read_labels_file(&meta, &err), RN_BAD_ARGUMENT, "row %zu", i);
        (void)snprintf(part, sizeof part, "byte %zu is not UTF-8 text", wrong[i].at);
        cr_assert_not_null(strstr(err.text, part), "row %zu: %s", i, err.text);
    }
    cr_assert_eq(meta.n_labels, 2);
    cr_assert_str_eq(meta.labels[1], "b");
    meta_done(&meta);
}

Test(meta, says_why_the_labels_file_cannot_be_read)
{
    struct meta meta = {0};
    struct rn_error err;
    cr_assert_eq(read_labels_file(&meta, &err), RN_IO);
    cr_assert_not_null(strstr(err.text, "labels.txt: No such file"));
    cr_assert_eq(meta_read_labels(&meta, folder_path(), &err), RN_IO);
    cr_assert_not_null(strstr(err.text, folder_path()));
    cr_assert_eq(mkfifo(folder_file("fifo"), 0600), 0); /* whose writer would be waited for */
    cr_assert_eq(meta_read_labels(&meta, folder_file("fifo"), &err), RN_IO);
    cr_assert_not_null(strstr(err.text, "not a regular file"), "%s", err.text);
}
