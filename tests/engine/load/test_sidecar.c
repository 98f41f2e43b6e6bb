/* sidecar.c: the hub's files in their real shapes, and refusals that name the key.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "engine/load/sidecar.h"
#include "tests/support_folder.h"

TestSuite(sidecar, .init = folder_make, .fini = folder_remove);

static void read_ok(struct meta *meta)
{
    struct rn_error err = {0};
    *meta = (struct meta){0};
    enum rn_status status = sidecar_read(folder_path(), meta, &err);
    cr_assert_eq(status, RN_OK, "%s", err.text);
}

static void expect_refused(enum rn_status wanted, const char *part)
{
    struct meta meta = {0};
    struct rn_error err = {0};
    enum rn_status status = sidecar_read(folder_path(), &meta, &err);
    cr_assert_eq(status, wanted, "%s: %s", rn_status_name(status), err.text);
    cr_assert_not_null(strstr(err.text, part), "\"%s\" does not say \"%s\"", err.text, part);
    meta_done(&meta);
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

Test(sidecar, may_be_missing)
{
    struct meta meta;
    read_ok(&meta);
    cr_assert_null(meta.labels);
    cr_assert_not(meta.has_resize || meta.has_crop || meta.has_interpolation || meta.has_mean_std);
}

/* ---- timm's config.json --------------------------------------------------------------------- */

#define TIMM_CFG                                                                                   \
    "\"pretrained_cfg\": {\"tag\": \"x_in1k\", \"custom_load\": false,"                            \
    "  \"input_size\": [3, 224, 224], \"test_input_size\": [3, 288, 288],"                         \
    "  \"fixed_input_size\": false, \"interpolation\": \"bicubic\", \"crop_pct\": 0.95,"           \
    "  \"test_crop_pct\": 1.0, \"crop_mode\": \"center\", \"mean\": [0.485, 0.456, 0.406],"        \
    "  \"std\": [0.229, 0.224, 0.225], \"num_classes\": 1000, \"pool_size\": [7, 7],"              \
    "  \"first_conv\": \"conv1\", \"classifier\": \"fc\"}"

Test(sidecar, reads_timm_config)
{
    folder_write_text("config.json", "{\"architecture\": \"resnet50\", \"num_classes\": 3,"
                                     " \"label_names\": [\"a\", \"b\", \"c\"]," TIMM_CFG "}");
    struct meta meta;
    read_ok(&meta);
    cr_assert_eq(meta_settle(&meta, 3, true, NULL), RN_OK);
    expect_recipe(&meta, 235, 224, RN_BICUBIC, 0.485f, 0.225f); /* floor(224 / 0.95) */
    cr_assert_str_eq(meta.labels[2], "c");
    meta_done(&meta);
}

Test(sidecar, reads_the_older_forms_of_timm)
{
    static const char *const cases[] = {
        "{\"architecture\": \"resnet50\", \"labels\": [\"a\", \"b\"], \"crop_pct\": 0.95,"
        " \"input_size\": [3, 224, 224], \"interpolation\": \"bicubic\"}",
        "{\"architecture\": \"resnet50\", \"model_args\": {\"output_stride\": 32}, "
        "\"pretrained_cfg\":"
        " {\"label_names\": [\"a\", \"b\"], \"crop_pct\": 0.95, \"interpolation\": \"bicubic\"}}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct meta meta;
        folder_write_text("config.json", cases[i]);
        read_ok(&meta);
        cr_assert_eq(meta_settle(&meta, 2, true, NULL), RN_OK);
        expect_recipe(&meta, 235, 224, RN_BICUBIC, 0.485f, 0.225f);
        cr_assert_str_eq(meta.labels[1], "b");
        meta_done(&meta);
    }
}

Test(sidecar, refuses_a_timm_config_it_cannot_follow)
{
    static const struct {
        const char *json;
        enum rn_status status;
        const char *part;
    } cases[] = {
        {"{\"pretrained_cfg\": {\"crop_mode\": \"squash\"}}", RN_UNSUPPORTED_MODEL, "crop_mode"},
        {"{\"pretrained_cfg\": {\"interpolation\": \"lanczos\"}}", RN_BAD_MODEL, "interpolation"},
        {"{\"pretrained_cfg\": {\"input_size\": [3, 224, 192]}}", RN_BAD_MODEL, "input_size"},
        {"{\"pretrained_cfg\": {\"input_size\": [224, 224]}}", RN_BAD_MODEL, "input_size"},
        {"{\"pretrained_cfg\": {\"input_size\": [3, 9000, 9000]}}", RN_BAD_MODEL, "input_size"},
        {"{\"pretrained_cfg\": {\"input_size\": [3, 224, 224], \"crop_pct\": 0}}", RN_BAD_MODEL,
         "crop_pct"},
        {"{\"pretrained_cfg\": {\"input_size\": [3, 224, 224], \"crop_pct\": 1e-9}}", RN_BAD_MODEL,
         "shorter side"},
        {"{\"label_names\": [\"a\", 2]}", RN_BAD_MODEL, "label 1"},
        {"{", RN_BAD_MODEL, "line 1"},
        {"[]", RN_BAD_MODEL, "JSON object"},
        {"{\"x\": \"\xff\"}", RN_BAD_MODEL, "byte 7 is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        folder_write_text("config.json", cases[i].json);
        expect_refused(cases[i].status, cases[i].part);
        expect_refused(cases[i].status, "config.json");
    }
}

Test(sidecar, caps_sidecar_files_at_a_mebibyte)
{
    size_t n = ((size_t)1 << 20) + 1;
    char *text = malloc(n);
    cr_assert_not_null(text);
    memset(text, ' ', n);
    memcpy(text, "{}", 2);
    folder_write("config.json", text, n);
    expect_refused(RN_BAD_MODEL, "1048576 bytes");
    folder_write("config.json", text, n - 1);
    struct meta meta;
    read_ok(&meta);
    meta_done(&meta);
    free(text);
}

/* ---- transformers' config.json and preprocessor_config.json ---------------------------------- */

#define HF_NORMALIZE "\"image_mean\": [0.485, 0.456, 0.406], \"image_std\": [0.229, 0.224, 0.225]"

Test(sidecar, reads_transformers_config_and_preprocessor)
{
    folder_write_text(
        "config.json",
        "{\"architectures\": [\"ResNetForImageClassification\"], \"depths\": [3, 4, 6, 3],"
        " \"downsample_in_first_stage\": false, \"embedding_size\": 64,"
        " \"hidden_act\": \"relu\", \"hidden_sizes\": [256, 512, 1024, 2048],"
        " \"id2label\": {\"1\": \"goldfish\", \"0\": \"tench, Tinca tinca\"},"
        " \"label2id\": {\"tench, Tinca tinca\": 0, \"goldfish\": 1},"
        " \"layer_type\": \"bottleneck\", \"model_type\": \"resnet\","
        " \"num_channels\": 3, \"torch_dtype\": \"float32\"}");
    folder_write_text("preprocessor_config.json",
                      "{\"crop_pct\": 0.875, \"do_normalize\": true, \"do_resize\": true,"
                      " \"feature_extractor_type\": \"ConvNextFeatureExtractor\"," HF_NORMALIZE ","
                      " \"resample\": 3, \"size\": 224}");
    struct meta meta;
    read_ok(&meta);
    cr_assert_eq(meta_settle(&meta, 2, true, NULL), RN_OK);
    expect_recipe(&meta, 256, 224, RN_BICUBIC, 0.485f, 0.225f);
    cr_assert_str_eq(meta.labels[0], "tench, Tinca tinca");
    cr_assert_str_eq(meta.labels[1], "goldfish");
    cr_assert_not(meta.stride_in_1x1);
    meta_done(&meta);
}

Test(sidecar, reads_the_sizes_of_every_processor)
{
    static const struct {
        const char *json;
        int resize, crop;
    } cases[] = {
        {"{\"image_processor_type\": \"ConvNextImageProcessor\", \"crop_pct\": 0.875,"
         " \"do_rescale\": true, \"rescale_factor\": 0.00392156862745098,"
         " \"size\": {\"shortest_edge\": 224}}",
         256, 224},
        {"{\"image_processor_type\": \"ConvNextFeatureExtractor\","
         " \"size\": {\"shortest_edge\": 224}}",
         256, 224},
        {"{\"crop_pct\": null, \"image_processor_type\": \"ConvNextImageProcessor\","
         " \"size\": {\"shortest_edge\": 160}}",
         182, 160},
        {"{\"crop_pct\": 0.875, \"size\": {\"shortest_edge\": 384}}", 384, 384},
        {"{\"do_center_crop\": true, \"size\": {\"shortest_edge\": 256},"
         " \"crop_size\": {\"height\": 224, \"width\": 224}}",
         256, 224},
        {"{\"size\": 256, \"crop_size\": 224}", 256, 224},
        {"{\"do_center_crop\": false, \"size\": 256, \"crop_size\": 224}", 256, 256},
        {"{\"image_processor_type\": \"ViTImageProcessor\","
         " \"size\": {\"height\": 224, \"width\": 224}}",
         224, 224},
        /* as the fast processors write it */
        {"{\"image_processor_type\": \"ConvNextImageProcessorFast\", \"crop_pct\": 0.875,"
         " \"crop_size\": null, \"do_center_crop\": null, \"do_rescale\": true,"
         " \"do_flip_channel_order\": null, \"image_mean\": null, \"image_std\": null,"
         " \"resample\": null, \"size\": {\"shortest_edge\": 224, \"height\": null}}",
         256, 224},
        {"{\"size\": 256, \"crop_size\": {\"height\": 224, \"width\": 224, \"shortest_edge\": "
         "null}}",
         256, 224},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        folder_write_text("preprocessor_config.json", cases[i].json);
        struct meta meta;
        read_ok(&meta);
        cr_assert_eq(meta_settle(&meta, 2, true, NULL), RN_OK);
        expect_recipe(&meta, cases[i].resize, cases[i].crop, RN_BILINEAR, 0.485f, 0.225f);
        meta_done(&meta);
    }
}

Test(sidecar, understands_do_normalize_false)
{
    folder_write_text("preprocessor_config.json", "{\"do_normalize\": false," HF_NORMALIZE "}");
    struct meta meta;
    read_ok(&meta);
    cr_assert_eq(meta_settle(&meta, 2, true, NULL), RN_OK);
    expect_recipe(&meta, 256, 224, RN_BILINEAR, 0.0f, 1.0f);
    meta_done(&meta);
}

Test(sidecar, refuses_a_transformers_config_it_cannot_follow)
{
    static const struct {
        const char *name, *json;
        enum rn_status status;
        const char *part;
    } cases[] = {
        {"config.json", "{\"downsample_in_first_stage\": true}", RN_UNSUPPORTED_MODEL,
         "downsample_in_first_stage"},
        {"config.json", "{\"hidden_act\": \"gelu\"}", RN_UNSUPPORTED_MODEL, "hidden_act"},
        {"config.json", "{\"id2label\": {\"0\": \"a\", \"2\": \"c\"}}", RN_BAD_MODEL, "label 1"},
        {"config.json", "{\"id2label\": {\"0\": 1}}", RN_BAD_MODEL, "label 0"},
        {"preprocessor_config.json", "{\"size\": 0}", RN_BAD_MODEL, "size"},
        {"preprocessor_config.json", "{\"size\": {\"shortest_edge\": 99999}}", RN_BAD_MODEL,
         "shortest_edge"},
        {"preprocessor_config.json", "{\"size\": {\"height\": 224, \"width\": 192}}", RN_BAD_MODEL,
         "equal height and width"},
        {"preprocessor_config.json", "{\"size\": {}}", RN_BAD_MODEL, "size must be"},
        {"preprocessor_config.json", "{\"size\": 224, \"crop_pct\": 2.5}", RN_BAD_MODEL,
         "crop_pct"},
        {"preprocessor_config.json", "{\"resample\": 1}", RN_BAD_MODEL, "resample"},
        {"preprocessor_config.json", "{\"rescale_factor\": 1.0}", RN_UNSUPPORTED_MODEL,
         "rescale_factor"},
        {"config.json", "{\"architecture\": \"resnetblur50\"}", RN_UNSUPPORTED_MODEL,
         "resnetblur50 smooths"},
        {"config.json", "{\"architecture\": \"resnetaa50\"}", RN_UNSUPPORTED_MODEL, "resnetaa50"},
        {"config.json", "{\"architecture\": \"resnet50\", \"global_pool\": \"max\"}",
         RN_UNSUPPORTED_MODEL, "global_pool is not avg"},
        {"config.json", "{\"model_args\": {\"act_layer\": \"silu\"}}", RN_UNSUPPORTED_MODEL,
         "act_layer"},
        {"config.json", "{\"model_args\": {\"aa_layer\": \"blurpool\"}}", RN_UNSUPPORTED_MODEL,
         "aa_layer"},
        {"config.json", "{\"model_args\": {\"output_stride\": 16}}", RN_UNSUPPORTED_MODEL,
         "output_stride is not 32"},
        {"preprocessor_config.json", "{\"do_rescale\": false}", RN_UNSUPPORTED_MODEL, "do_rescale"},
        {"preprocessor_config.json", "{\"do_resize\": false}", RN_UNSUPPORTED_MODEL, "do_resize"},
        {"preprocessor_config.json", "{\"do_flip_channel_order\": true}", RN_UNSUPPORTED_MODEL,
         "do_flip_channel_order"},
        {"preprocessor_config.json", "{\"image_mean\": 0.5, \"image_std\": 0.5}", RN_BAD_MODEL,
         "image_mean"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        folder_write_text("config.json", "{}");
        folder_write_text("preprocessor_config.json", "{}");
        folder_write_text(cases[i].name, cases[i].json);
        expect_refused(cases[i].status, cases[i].part);
        expect_refused(cases[i].status, cases[i].name);
    }
}

Test(sidecar, takes_the_stride_in_the_1x1_from_transformers)
{
    struct meta meta;
    folder_write_text("config.json", "{\"downsample_in_bottleneck\": true}");
    read_ok(&meta);
    cr_assert(meta.stride_in_1x1);
    meta_done(&meta);
}

Test(sidecar, refuses_what_is_not_a_file)
{
    cr_assert_eq(mkfifo(folder_file("config.json"), 0600), 0);
    expect_refused(RN_IO, "config.json: not a regular file");
}
