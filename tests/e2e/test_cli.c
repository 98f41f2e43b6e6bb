/* The commands that need no server: outputs, exit codes.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/support_server.h"
#include "tests/support_model.h"

TestSuite(e2e_cli, .timeout = 300);

/* The i-th line of a text as JSON, NULL past the end. */
static json_t *json_line(const char *text, int i)
{
    for (; i > 0 && *text; i--)
        text += strcspn(text, "\n") + 1;
    return *text ? json_loadb(text, strcspn(text, "\n"), 0, NULL) : NULL;
}

static const char *file_of(const json_t *line)
{
    return json_string_value(json_object_get(line, "file"));
}

Test(e2e_cli, classify_walks_folders_in_order_and_goes_on_after_a_bad_file)
{
    char folder[] = "/tmp/resnetd-test-XXXXXX", command[8192], args[256], here[4096];
    struct program program;
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(
        command, sizeof command,
        "cd %s && mkdir sub && cp %s/%s b.jpg && cp b.jpg sub/photo && echo text > a.jpg "
        "&& : > empty && ln -s b.jpg link",
        folder, getcwd(here, sizeof here), PHOTO);
    cr_assert_eq(system(command), 0);
    (void)snprintf(args, sizeof args, "classify --json --logits --top-k 2 %s %s/none", folder,
                   folder);
    cr_assert_eq(program_run(&program, args), 1, "%s", program.stderr_text);
    static const char *const names[] = {"a.jpg", "b.jpg", "empty", "sub/photo", "none"};
    static const char *const errors[] = {"unsupported-format", NULL, "empty-body", NULL,
                                         "not-found"};
    json_t *first = NULL;
    for (int i = 0; i < 5; i++) {
        json_t *line = json_line(program.stdout_text, i);
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        cr_assert_str_eq(file_of(line), path);
        const json_t *error = json_object_get(line, "error");
        if (errors[i]) {
            const char *type = json_string_value(json_object_get(error, "type"));
            cr_assert(type && strstr(type, errors[i]), "%s", program.stdout_text);
            cr_assert(json_is_string(json_object_get(error, "title")));
            cr_assert(json_is_string(json_object_get(error, "detail")));
            cr_assert(json_is_integer(json_object_get(error, "status")));
        } else {
            cr_assert_null(error);
            cr_assert_eq(json_array_size(json_object_get(line, "predictions")), 2);
            cr_assert_eq(json_array_size(json_object_get(line, "logits")), 10);
            if (first)
                cr_assert(
                    json_equal(json_object_get(first, "logits"), json_object_get(line, "logits")));
            else
                first = json_incref(line);
        }
        json_decref(line);
    }
    cr_assert_null(json_line(program.stdout_text, 5));
    json_decref(first);
    program_done(&program);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

Test(e2e_cli, classify_reads_standard_input_and_names_usage_and_model_errors_by_exit_code)
{
    struct program program;
    program_start(&program, "classify --top-k 1 -", NULL, PHOTO);
    cr_assert_eq(program_wait(&program), 0, "%s", program.stderr_text);
    cr_assert_eq(strncmp(program.stdout_text, "-: ", 3), 0, "%s", program.stdout_text);
    program_done(&program);
    for (int k = 1; k <= 2; k++) { /* a line each: a flag is believed more than the setting */
        program_start(&program, k == 1 ? "classify --top-k 1 --json -" : "classify --json -",
                      "RESNETD_TOP_K=2", PHOTO);
        cr_assert_eq(program_wait(&program), 0, "%s", program.stderr_text);
        json_t *answer = json_loads(program.stdout_text, 0, NULL);
        cr_assert_eq(json_array_size(json_object_get(answer, "predictions")), k, "%s",
                     program.stdout_text);
        json_decref(answer);
        program_done(&program);
    }
    static const struct {
        const char *args;
        int status;
    } runs[] = {
        {"classify", 2},
        {"classify --top-k 0 " PHOTO, 2},
        {"classify --topk 1 " PHOTO, 2},
        {"classify --model README.md " PHOTO, 3},
        {"classify --help", 0},
        {"inspect README.md", 3},
        {"inspect a b", 2},
        {"bench --batch 0", 2},
        {"--version", 0},
        {"--help", 0},
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        const int status = program_run(&program, runs[i].args);
        cr_expect_eq(status, runs[i].status, "%s: %d, %s", runs[i].args, status,
                     program.stderr_text);
        cr_expect(status == 0 ? program.n_stdout > 0 : program.n_stderr > 0, "%s says nothing",
                  runs[i].args);
        program_done(&program);
    }
}

static bool is_text(const json_t *object, const char *key, const char *want)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && strcmp(text, want) == 0;
}

Test(e2e_cli, inspect_prints_the_layers_and_their_totals)
{
    struct program program;
    cr_assert_eq(program_run(&program, "inspect --json"), 0, "%s", program.stderr_text);
    json_t *root = json_loads(program.stdout_text, 0, NULL);
    cr_assert_not_null(root, "%s", program.stdout_text);
    json_int_t parameters = 0, flops = 0;
    size_t i;
    int n_identities = 0, n_of_stage2 = 0;
    json_t *layer;
    json_array_foreach(json_object_get(root, "layers"), i, layer)
    {
        parameters += json_integer_value(json_object_get(layer, "parameters"));
        flops += json_integer_value(json_object_get(layer, "flops"));
        cr_assert_eq(json_array_size(json_object_get(layer, "output")), 4);
        cr_assert(json_is_integer(json_object_get(layer, "receptive_field")));
        n_identities += is_text(layer, "shortcut", "identity");
        n_of_stage2 += is_text(layer, "stage", "stage2");
    }
    cr_assert_eq(n_identities, 9, "three stages of three blocks, all shortcuts without weights");
    cr_assert_eq(n_of_stage2, 3 * 7 + 1);
    /* He et al. 2015, table 6: ResNet-20 has 0.27 M parameters. */
    cr_assert_eq(parameters, 269722);
    cr_assert_eq(json_integer_value(json_object_get(root, "parameters")), parameters);
    cr_assert_eq(json_integer_value(json_object_get(root, "flops")), flops);
    json_decref(root);
    program_done(&program);
    cr_assert_eq(program_run(&program, "inspect"), 0);
    cr_assert(strstr(program.stdout_text, "269,722 parameters"), "%s", program.stdout_text);
    program_done(&program);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        n++;
    return n;
}

/* Every tag is closed, in order. */
static bool is_well_formed(const char *xml)
{
    const char *open[64];
    size_t n = 0;
    for (const char *p = strchr(xml, '<'); p; p = strchr(p + 1, '<')) {
        const char *end = strchr(p, '>');
        const size_t length = strcspn(p + 1, " />");
        if (!end || memchr(p + 1, '<', (size_t)(end - p - 1)))
            return false;
        if (p[1] == '/') {
            if (n == 0 || strncmp(open[--n], p + 2, strcspn(p + 2, ">")) != 0)
                return false;
        } else if (end[-1] != '/') {
            if (n == 64 || length == 0)
                return false;
            open[n++] = p + 1;
        }
    }
    return n == 0;
}

/* Draws a model file, "" for the embedded one, and returns the picture. */
static char *draw(const char *model)
{
    char path[64], args[256];
    struct program program;
    size_t n;
    (void)snprintf(path, sizeof path, "/tmp/resnetd-test-%d.svg", (int)getpid());
    (void)snprintf(args, sizeof args, "inspect --svg %s %s", path, model);
    cr_assert_eq(program_run(&program, args), 0, "%s", program.stderr_text);
    cr_assert_eq(program.n_stdout, 0, "nothing was asked for but the file");
    program_done(&program);
    char *svg = read_file(path, &n);
    cr_assert_eq(unlink(path), 0);
    cr_assert(is_well_formed(svg), "%s", svg);
    return svg;
}

Test(e2e_cli, what_cannot_be_printed_is_a_failure)
{
    static const char *const words[] = {"inspect", "classify --json " PHOTO, "--version", "--help"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char command[300];
        (void)snprintf(command, sizeof command, "\"$RESNETD_BINARY\" %s >/dev/full 2>/dev/null",
                       words[i]);
        const int status = system(command);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s: %d", words[i], status);
    }
}

Test(e2e_cli, inspect_draws_the_network)
{
    char *svg = draw("");
    cr_assert_eq(count(svg, "class=\"add\""), 9);
    cr_assert_eq(count(svg, "class=\"identity\""), 7 + 1, "and the legend");
    cr_assert_eq(count(svg, "class=\"zeros\""), 2 + 1);
    cr_assert_eq(count(svg, "class=\"projection\""), 1);
    cr_assert_eq(count(svg, "<rect "), 19 + 2 + 1, "convolutions, head, background");
    cr_assert(strstr(svg, "layer3.2.conv2"), "%s", svg);
    free(svg);
    struct program program;
    cr_assert_eq(program_run(&program, "inspect --svg /nonexistent/x.svg"), 1);
    cr_assert(strstr(program.stderr_text, "/nonexistent/x.svg"), "%s", program.stderr_text);
    program_done(&program);
}

/* A name that would be markup, projections, and a stage that is too long to be drawn whole. */
Test(e2e_cli, inspect_draws_any_name_and_any_depth)
{
    static const char file[] = "/tmp/resnetd-test-<g>&\"'.safetensors";
    static const struct support_net net = {
        SUPPORT_TORCHVISION, 3, 2, {2, 60, 1}, 4, 1, 64, true, 10, 0.2};
    static const struct support_options options = {.type = WEIGHT_F32, .prefix = "", .size = 32};
    struct support_model model;
    support_model_make(&net, &options, &model);
    FILE *out = fopen(file, "wbe");
    cr_assert(out && fwrite(model.bytes, 1, model.n, out) == model.n && fclose(out) == 0);
    support_model_done(&model);
    char *svg = draw(file);
    cr_assert_eq(unlink(file), 0);
    cr_assert(strstr(svg, "resnetd-test-&lt;g&gt;&amp;\"'"), "%s", svg);
    cr_assert(strstr(svg, "52 more blocks"), "%s", svg);
    cr_assert_eq(count(svg, "class=\"projection\""), 2 + 1);
    cr_assert_eq(count(svg, "class=\"add\""), 2 + 8 + 1);
    free(svg);
}

Test(e2e_cli, bench_reports_every_batch_size_and_team)
{
    struct program program;
    cr_assert_eq(program_run(&program, "bench --json --seconds 0.01 --batch 1,2 --threads 1,2"), 0,
                 "%s", program.stderr_text);
    json_t *root = json_loads(program.stdout_text, 0, NULL);
    cr_assert_not_null(root, "%s", program.stdout_text);
    cr_assert_gt(json_number_value(json_object_get(root, "peak_gflops")), 0);
    cr_assert_gt(json_number_value(json_object_get(root, "bandwidth_gbs")), 0);
    const json_t *runs = json_object_get(root, "runs");
    cr_assert_eq(json_array_size(runs), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *run = json_array_get(runs, i);
        cr_assert_eq(json_integer_value(json_object_get(run, "batch")), i < 2 ? 1 : 2);
        cr_assert_eq(json_integer_value(json_object_get(run, "threads")), i % 2 == 0 ? 1 : 2);
        cr_assert_geq(json_number_value(json_object_get(run, "median_ms")),
                      json_number_value(json_object_get(run, "min_ms")));
        const json_t *layers = json_object_get(run, "layers");
        cr_assert_gt(json_array_size(layers), 20);
        const json_t *layer = json_array_get(layers, 3);
        cr_assert(json_is_string(json_object_get(layer, "algorithm")));
        cr_assert_gt(json_integer_value(json_object_get(layer, "bytes")), 0);
    }
    json_decref(root);
    program_done(&program);
}

/* The peak is measured with the kernels that run: these have no matrix unit on any CPU. */
Test(e2e_cli, bench_measures_the_peak_of_the_kernels_that_were_chosen)
{
    struct program program;
    program_start(&program, "bench --json --seconds 0.01 --batch 1 --threads 1",
                  "RESNETD_CPU=portable", NULL);
    cr_assert_eq(program_wait(&program), 0, "%s", program.stderr_text);
    json_t *root = json_loads(program.stdout_text, 0, NULL);
    cr_assert_not_null(root, "%s", program.stdout_text);
    cr_assert_gt(json_number_value(json_object_get(root, "peak_gflops")), 0);
    cr_assert_not(strstr(program.stdout_text, "bf16x3"), "%s", program.stdout_text);
    json_decref(root);
    program_done(&program);
}

Test(e2e_cli, the_zygote_is_not_started_by_hand)
{
    struct program program;
    cr_assert_eq(program_run(&program, "decode-zygote"), 2);
    cr_assert(strstr(program.stderr_text, "is started by serve"), "%s", program.stderr_text);
    program_done(&program);
}

Test(e2e_cli, bench_draws_a_roofline)
{
    char path[64], args[128];
    struct program program;
    size_t n, n_dots = 0;
    (void)snprintf(path, sizeof path, "/tmp/resnetd-test-%d.svg", (int)getpid());
    (void)snprintf(args, sizeof args, "bench --seconds 0.01 --batch 1 --layers --svg %s", path);
    cr_assert_eq(program_run(&program, args), 0, "%s", program.stderr_text);
    cr_assert(strstr(program.stdout_text, "layer1.0.conv1"), "%s", program.stdout_text);
    program_done(&program);
    char *svg = read_file(path, &n);
    cr_assert_eq(strncmp(svg, "<svg ", 5), 0);
    for (const char *at = svg; (at = strstr(at, "<title>")); at++)
        n_dots++;
    cr_assert_eq(n_dots, 20, "a dot for each convolution and the classifier");
    cr_assert(strstr(svg, ">gemm</text>"), "the legend");
    cr_assert_not(strstr(svg, "#7f7f7f"), "an algorithm without a colour");
    free(svg);
    cr_assert_eq(unlink(path), 0);
    (void)snprintf(args, sizeof args, "bench --seconds 0.01 --svg /nonexistent/x.svg");
    cr_assert_eq(program_run(&program, args), 1);
    cr_assert(strstr(program.stderr_text, "/nonexistent/x.svg"), "%s", program.stderr_text);
    program_done(&program);
}
