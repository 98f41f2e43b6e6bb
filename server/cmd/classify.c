/* `resnetd classify`: the same answers without a server. Decodes file after file, runs them in
 * batches and prints a line for each in the order they were found. One thread but for the engine's
 * team; memory is bounded by one batch and one decoded image.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/clock.h"
#include "server/cmd/files.h"
#include "server/cmd/offline.h"
#include "server/problem.h"
#include "server/text.h"

#define PROGRESS_AFTER_S 1.0
#define PROGRESS_WIDTH 40

static const char usage[] =
    "classify [--model PATH] [--json] [--logits] [--top-k K] FILE|DIR|-…\n\n"
    "Classifies files; folders are walked, - is standard input.";

/* One file of the batch that is being filled. */
struct entry {
    const char *path;       /* borrowed from the list of files */
    struct problem problem; /* PROBLEM_NONE when its tensor is set */
    int row;                /* of the batch; valid without a problem */
};

struct classify {
    const struct rn_model_info *info;
    struct rn_session *session;
    struct rn_image_limits limits;
    int top_k; /* 0: that of the settings */
    bool json, logits;
    struct files files;
    struct entry *entries; /* files since the last flush, [max_batch] */
    int n_entries, n_rows;
    float *tensors;                  /* [max_batch][input] */
    float *scores, *logits_of_batch; /* [classes], [max_batch][classes] */
    int *top;                        /* [top_k] */
    uint8_t *rgb;                    /* [crop][crop][3] */
    size_t n_done, n_failed;
    double started_s;
};

static double now_s(void)
{
    return 1e-9 * (double)clock_ns();
}

static size_t input_size(const struct rn_model_info *info)
{
    return (size_t)info->input[0] * (size_t)info->input[1] * (size_t)info->input[2];
}

/* ---- printing -------------------------------------------------------------------------------- */

static void write_json(const struct classify *c, const struct entry *e, const float *logits,
                       struct text *out)
{
    text_add(out, "{\"file\":");
    text_json(out, e->path);
    if (e->problem.type != PROBLEM_NONE) {
        text_add(out, ",\"error\":{");
        problem_write(out, &e->problem, NULL);
        text_add(out, "}}\n");
        return;
    }
    text_add(out, ",\"predictions\":[");
    for (int k = 0; k < c->top_k; k++) {
        const int i = c->top[k];
        text_format(out, "%s{\"index\":%d,\"label\":", k > 0 ? "," : "", i);
        text_json(out, c->info->labels[i]);
        text_add(out, ",\"score\":");
        text_real(out, (double)c->scores[i], 6);
        text_add(out, "}");
    }
    text_add(out, "]");
    if (c->logits) {
        for (int i = 0; i < c->info->classes; i++)
            text_format(out, "%s%.9g", i > 0 ? "," : ",\"logits\":[", (double)logits[i]);
        text_add(out, "]");
    }
    text_add(out, "}\n");
}

static void write_line(const struct classify *c, const struct entry *e, struct text *out)
{
    if (e->problem.type != PROBLEM_NONE) {
        text_format(out, "%s: error: %s\n", e->path, e->problem.detail);
        return;
    }
    text_format(out, "%s:", e->path);
    for (int k = 0; k < c->top_k; k++)
        text_format(out, "%s %s %.1f %%", k > 0 ? "," : "", c->info->labels[c->top[k]],
                    100 * (double)c->scores[c->top[k]]);
    text_add(out, "\n");
}

static bool print_entry(const struct classify *c, const struct entry *e)
{
    const float *logits = c->logits_of_batch + (size_t)e->row * (size_t)c->info->classes;
    struct text out = {0};
    size_t n = 0;
    if (e->problem.type == PROBLEM_NONE) {
        rn_softmax(logits, c->info->classes, c->scores);
        rn_top_k(c->scores, c->info->classes, c->top_k, c->top);
    }
    if (c->json)
        write_json(c, e, logits, &out);
    else
        write_line(c, e, &out);
    char *text = text_take(&out, &n);
    const bool ok = text != NULL;
    if (ok)
        (void)fwrite(text, 1, n, stdout);
    free(text);
    return ok;
}

static bool shows_progress(const struct classify *c)
{
    return isatty(STDERR_FILENO) && now_s() - c->started_s > PROGRESS_AFTER_S;
}

/* A bar on the terminal's last line; the lines of stdout, if they go there too, push it down. */
static void show_progress(const struct classify *c)
{
    static const char bar[] = "########################################"; /* PROGRESS_WIDTH */
    if (!shows_progress(c))
        return;
    const int filled = (int)(PROGRESS_WIDTH * c->n_done / c->files.n);
    (void)fprintf(stderr, "[%-*.*s] %zu of %zu files, %.0f/s\r", PROGRESS_WIDTH, filled, bar,
                  c->n_done, c->files.n, (double)c->n_done / (now_s() - c->started_s));
}

static void clear_progress(const struct classify *c)
{
    if (shows_progress(c))
        (void)fputs("\r\x1b[K", stderr);
}

/* ---- batches --------------------------------------------------------------------------------- */

/* Runs the batch and prints everything that waits, in order. */
static bool flush(struct classify *c)
{
    const size_t size = input_size(c->info);
    const float *inputs[RN_MAX_BATCH];
    bool ok = true;
    for (int i = 0; i < c->n_rows; i++)
        inputs[i] = c->tensors + (size_t)i * size;
    if (c->n_rows > 0)
        rn_session_run(c->session, inputs, c->n_rows, c->logits_of_batch);
    clear_progress(c);
    for (int i = 0; i < c->n_entries && ok; i++) {
        ok = print_entry(c, &c->entries[i]);
        c->n_failed += c->entries[i].problem.type != PROBLEM_NONE;
        c->n_done++;
    }
    c->n_entries = c->n_rows = 0;
    (void)fflush(stdout);
    show_progress(c);
    return ok;
}

/* Decodes into the next row; false with the entry's problem set. */
static void add_image(struct classify *c, struct entry *e, const uint8_t *bytes, size_t n)
{
    struct rn_error err = {0};
    struct rn_image image;
    if (n == 0) {
        problem_set(&e->problem, PROBLEM_EMPTY_BODY, "the file is empty");
        return;
    }
    enum rn_status status =
        rn_image_decode_for(bytes, n, &c->limits, &c->info->recipe, &image, &err);
    if (status == RN_OK) {
        status = rn_image_crop(&image, &c->info->recipe, c->rgb, &err);
        rn_image_done(&image);
    }
    if (status != RN_OK) {
        problem_from_status(&e->problem, status, &err);
        return;
    }
    e->row = c->n_rows++;
    rn_image_normalize(c->rgb, &c->info->recipe, c->tensors + (size_t)e->row * input_size(c->info));
}

/* Reads at most one byte more than the limit, so that a larger file is told by its size. */
static uint8_t *read_stream(FILE *f, size_t limit, size_t *n)
{
    uint8_t *bytes = NULL;
    size_t have = 0, room = 0;
    while (have <= limit) {
        if (have == room) {
            room = room ? 2 * room : 65536;
            uint8_t *more = realloc(bytes, room);
            if (!more) {
                free(bytes);
                return NULL;
            }
            bytes = more;
        }
        size_t got = fread(bytes + have, 1, room - have, f);
        have += got;
        if (got == 0)
            break;
    }
    *n = have;
    return bytes;
}

static bool add_file(struct classify *c, const char *path)
{
    struct entry *e = &c->entries[c->n_entries++];
    *e = (struct entry){.path = path};
    bool standard_input = strcmp(path, "-") == 0;
    FILE *f = standard_input ? stdin : fopen(path, "rbe");
    size_t n = 0;
    uint8_t *bytes = f ? read_stream(f, c->limits.max_bytes, &n) : NULL;
    if (!f || !bytes || ferror(f))
        problem_set(&e->problem, !f && errno == ENOENT ? PROBLEM_NOT_FOUND : PROBLEM_INTERNAL,
                    "cannot be read: %s", strerror(errno));
    else
        add_image(c, e, bytes, n);
    free(bytes);
    if (f && !standard_input)
        (void)fclose(f);
    return c->n_entries < c->info->max_batch || flush(c);
}

static bool run(struct classify *c)
{
    const size_t batch = (size_t)c->info->max_batch, crop = (size_t)c->info->recipe.crop;
    const size_t classes = (size_t)c->info->classes;
    c->entries = calloc(batch, sizeof *c->entries);
    c->tensors = calloc(batch * input_size(c->info), sizeof *c->tensors);
    c->logits_of_batch = calloc(batch * classes, sizeof *c->logits_of_batch);
    c->scores = calloc(classes, sizeof *c->scores);
    c->top = calloc((size_t)c->top_k, sizeof *c->top);
    c->rgb = calloc(crop * crop, 3);
    bool ok = c->entries && c->tensors && c->logits_of_batch && c->scores && c->top && c->rgb;
    c->started_s = now_s();
    for (size_t i = 0; ok && i < c->files.n; i++)
        ok = add_file(c, c->files.paths[i]);
    ok = ok && flush(c);
    clear_progress(c);
    if (!ok)
        offline_complain("out of memory");
    free(c->entries);
    free(c->tensors);
    free(c->logits_of_batch);
    free(c->scores);
    free(c->top);
    free(c->rgb);
    return ok;
}

static enum cmd_exit classify(const struct config *config, const struct rn_model *model,
                              struct classify *c)
{
    struct rn_threads *threads = NULL;
    struct rn_error err = {0};
    int n_threads = offline_threads(config);
    c->info = rn_model_info(model);
    c->limits = (struct rn_image_limits){.max_bytes = config->max_body_bytes,
                                         .max_side = config->max_side,
                                         .max_pixels = config->max_pixels,
                                         .max_scans = config->max_scans,
                                         .max_memory = config->max_decode_bytes,
                                         .max_cpu_ms = config->max_decode_ms,
                                         .full_size = strcmp(config->jpeg_scaling, "off") == 0};
    if (c->top_k == 0)
        c->top_k = config->top_k;
    if (c->top_k > c->info->classes)
        c->top_k = c->info->classes;
    enum rn_status status = rn_threads_new(n_threads, &threads, &err);
    if (status == RN_OK)
        status = rn_session_new(model, threads, &c->session, &err);
    if (status != RN_OK)
        offline_complain("%s", err.text);
    bool ok = status == RN_OK && run(c);
    rn_session_free(c->session);
    rn_threads_free(threads);
    if (status == RN_BAD_MODEL)
        return CMD_MODEL;
    return ok && c->n_failed == 0 ? CMD_OK : CMD_FAILED;
}

int cmd_classify(int argc, char **argv, char **envp)
{
    const char *path = "";
    struct classify c = {0};
    const struct flag flags[] = {
        {.name = "model",
         .type = FLAG_TEXT,
         .out = &path,
         .value = "PATH",
         .help = "a .safetensors file or a hub folder; without it the first of the settings, else "
                 "the embedded"},
        {.name = "json",
         .type = FLAG_SWITCH,
         .out = &c.json,
         .value = "",
         .help = "one JSON object a line"},
        {.name = "logits",
         .type = FLAG_SWITCH,
         .out = &c.logits,
         .value = "",
         .help = "with --json: every class's logit, in class order"},
        {.name = "top-k",
         .type = FLAG_INT,
         .out = &c.top_k,
         .min = 1,
         .max = 100000,
         .value = "K",
         .help = "predictions a file; without it the setting top_k"},
    };
    enum cmd_exit code;
    if (!offline_flags(usage, flags, sizeof flags / sizeof *flags, &argc, argv, &code))
        return code;
    if (argc < 1) {
        offline_complain("classify needs a file, a folder or -; see resnetd classify --help");
        return CMD_USAGE;
    }
    struct config config;
    code = offline_settings(envp, &config);
    if (code != CMD_OK)
        return code;
    struct rn_model *model = NULL;
    code = offline_model(&config, path, config.max_batch, &model);
    bool ok = true;
    for (int i = 0; i < argc && code == CMD_OK && ok; i++)
        ok = files_add(&c.files, argv[i]);
    if (!ok) {
        offline_complain("out of memory");
        code = CMD_FAILED;
    }
    if (code == CMD_OK)
        code = classify(&config, model, &c);
    files_done(&c.files);
    rn_model_free(model);
    config_done(&config);
    return code;
}
