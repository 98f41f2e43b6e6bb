/* `resnetd classify`: the same answers without a server. Walks files and folders, decodes, runs
 * batches, prints a line per file in the order they were found. One thread but for the engine's
 * team; memory is bounded by one batch and one decoded image.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "server/cmd/offline.h"
#include "server/problem.h"

static const char usage[] =
    "usage: resnetd classify [--model PATH] [--json] [--logits] [--top-k K] FILE|DIR|-…\n\n"
    "Classifies files; folders are walked, - is standard input.\n";

/* One file of the batch that is being filled. */
struct entry {
    char *path;
    struct problem problem; /* PROBLEM_NONE when its tensor is set */
    int row;                /* of the batch; valid without a problem */
};

struct classify {
    const struct rn_model_info *info;
    struct rn_session *session;
    struct rn_image_limits limits;
    int top_k;
    bool json, logits;
    struct entry *entries; /* files since the last flush, [max_batch] */
    int n_entries, n_rows;
    float *tensors, *scores; /* [max_batch][input], [max_batch][classes] */
    uint8_t *rgb;            /* [crop][crop][3] */
    size_t n_done, n_failed;
    double started;
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t input_size(const struct rn_model_info *info)
{
    return (size_t)info->input[0] * (size_t)info->input[1] * (size_t)info->input[2];
}

/* ---- printing -------------------------------------------------------------------------------- */

static json_t *json_entry(const struct classify *c, const struct entry *e, const float *logits,
                          const float *scores, const int *top)
{
    const struct rn_model_info *info = c->info;
    json_t *row = json_object();
    (void)json_object_set_new(row, "file", json_stringn_nocheck(e->path, strlen(e->path)));
    if (e->problem.type != PROBLEM_NONE) {
        const struct problem_row *p = problem_row(e->problem.type);
        char type[64];
        (void)snprintf(type, sizeof type, "/problems/%s", p->slug);
        (void)json_object_set_new(row, "error",
                                  json_pack("{s:s, s:s, s:i, s:s}", "type", type, "title", p->title,
                                            "status", p->status, "detail", e->problem.detail));
        return row;
    }
    json_t *predictions = json_array();
    for (int k = 0; k < c->top_k; k++)
        (void)json_array_append_new(predictions, json_pack("{s:i, s:s, s:f}", "index", top[k],
                                                           "label", info->labels[top[k]], "score",
                                                           (double)scores[top[k]]));
    (void)json_object_set_new(row, "predictions", predictions);
    if (c->logits) {
        json_t *all = json_array();
        for (int i = 0; i < info->classes; i++)
            (void)json_array_append_new(all, json_real((double)logits[i]));
        (void)json_object_set_new(row, "logits", all);
    }
    return row;
}

static void print_text(const struct classify *c, const struct entry *e, const float *scores,
                       const int *top)
{
    if (e->problem.type != PROBLEM_NONE) {
        printf("%s: error: %s\n", e->path, e->problem.detail);
        return;
    }
    printf("%s:", e->path);
    for (int k = 0; k < c->top_k; k++)
        printf("%s %s %.1f %%", k > 0 ? "," : "", c->info->labels[top[k]],
               100 * (double)scores[top[k]]);
    printf("\n");
}

static void print_entry(const struct classify *c, const struct entry *e, float *scores, int *top)
{
    size_t classes = (size_t)c->info->classes;
    const float *logits = c->scores + (size_t)e->row * classes;
    if (e->problem.type == PROBLEM_NONE) {
        rn_softmax(logits, c->info->classes, scores);
        rn_top_k(scores, c->info->classes, c->top_k, top);
    }
    if (c->json) {
        json_t *row = json_entry(c, e, logits, scores, top);
        (void)json_dumpf(row, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        printf("\n");
        json_decref(row);
    } else {
        print_text(c, e, scores, top);
    }
}

/* On a terminal and only when it takes long. */
static void show_progress(const struct classify *c)
{
    if (isatty(STDERR_FILENO) && now() - c->started > 1)
        (void)fprintf(stderr, "\r%zu files, %.0f a second ", c->n_done,
                      (double)c->n_done / (now() - c->started));
}

/* ---- batches --------------------------------------------------------------------------------- */

/* Runs the batch and prints everything that waits, in order. */
static bool flush(struct classify *c)
{
    size_t size = input_size(c->info), classes = (size_t)c->info->classes;
    float *scores = malloc(classes * sizeof *scores);
    int *top = malloc((size_t)c->top_k * sizeof *top);
    const float *inputs[RN_MAX_BATCH];
    for (int i = 0; i < c->n_rows; i++)
        inputs[i] = c->tensors + (size_t)i * size;
    if (c->n_rows > 0)
        rn_session_run(c->session, inputs, c->n_rows, c->scores);
    for (int i = 0; i < c->n_entries; i++) {
        if (scores && top)
            print_entry(c, &c->entries[i], scores, top);
        c->n_failed += c->entries[i].problem.type != PROBLEM_NONE;
        c->n_done++;
        free(c->entries[i].path);
    }
    c->n_entries = c->n_rows = 0;
    (void)fflush(stdout);
    show_progress(c);
    bool ok = scores && top;
    free(scores);
    free(top);
    return ok;
}

/* Decodes into the next row; false with the entry's problem set. */
static void add_image(struct classify *c, struct entry *e, const uint8_t *bytes, size_t n)
{
    struct rn_error err = {""};
    struct rn_image image;
    if (n == 0) {
        problem_set(&e->problem, PROBLEM_EMPTY_BODY, "the file is empty");
        return;
    }
    enum rn_status status = rn_image_decode(bytes, n, &c->limits, &image, &err);
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
    *e = (struct entry){.path = strdup(path)};
    if (!e->path)
        return false;
    bool standard_input = strcmp(path, "-") == 0;
    FILE *f = standard_input ? stdin : fopen(path, "rbe");
    size_t n = 0;
    uint8_t *bytes = f ? read_stream(f, c->limits.max_bytes, &n) : NULL;
    if (!f || !bytes || ferror(f))
        problem_set(&e->problem, PROBLEM_INTERNAL, "cannot be read: %s", strerror(errno));
    else
        add_image(c, e, bytes, n);
    free(bytes);
    if (f && !standard_input)
        (void)fclose(f);
    return c->n_entries < c->info->max_batch || flush(c);
}

/* ---- walking --------------------------------------------------------------------------------- */

static bool walk(struct classify *c, const char *path);

static bool walk_folder(struct classify *c, const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    bool ok = n >= 0 || add_file(c, path); /* says why it cannot be read */
    for (int i = 0; i < n; i++) {
        char *child = NULL;
        const char *name = names[i]->d_name;
        size_t length = strlen(path);
        bool slash = length > 0 && path[length - 1] == '/';
        if (ok && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            ok = asprintf(&child, "%s%s%s", path, slash ? "" : "/", name) >= 0;
            struct stat st;
            if (ok && lstat(child, &st) == 0 && (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
                ok = walk(c, child);
            free(child);
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return ok;
}

static bool walk(struct classify *c, const char *path)
{
    struct stat st;
    if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return walk_folder(c, path);
    return add_file(c, path);
}

static bool run(struct classify *c, char **paths, int n)
{
    size_t batch = (size_t)c->info->max_batch, crop = (size_t)c->info->recipe.crop;
    c->entries = calloc(batch, sizeof *c->entries);
    c->tensors = malloc(batch * input_size(c->info) * sizeof *c->tensors);
    c->scores = malloc(batch * (size_t)c->info->classes * sizeof *c->scores);
    c->rgb = malloc(crop * crop * 3);
    bool ok = c->entries && c->tensors && c->scores && c->rgb;
    c->started = now();
    for (int i = 0; ok && i < n; i++)
        ok = walk(c, paths[i]);
    ok = ok && flush(c);
    if (!ok)
        offline_complain("out of memory");
    free(c->entries);
    free(c->tensors);
    free(c->scores);
    free(c->rgb);
    return ok;
}

static enum cmd_exit classify(const struct config *config, const struct rn_model *model,
                              struct classify *c, char **paths, int n)
{
    struct rn_threads *threads = NULL;
    struct rn_error err = {""};
    int n_threads = config->threads > 0 ? config->threads : rn_threads_available();
    c->info = rn_model_info(model);
    c->limits = (struct rn_image_limits){.max_bytes = config->max_body_bytes,
                                         .max_side = config->max_side,
                                         .max_pixels = config->max_pixels,
                                         .max_scans = config->max_scans,
                                         .max_memory = config->max_decode_bytes};
    if (c->top_k > c->info->classes)
        c->top_k = c->info->classes;
    enum rn_status status = rn_threads_new(n_threads, &threads, &err);
    if (status == RN_OK)
        status = rn_session_new(model, threads, &c->session, &err);
    if (status != RN_OK)
        offline_complain("%s", err.text);
    bool ok = status == RN_OK && run(c, paths, n);
    rn_session_free(c->session);
    rn_threads_free(threads);
    return ok && c->n_failed == 0 ? CMD_OK : CMD_FAILED;
}

int cmd_classify(int argc, char **argv, char **envp)
{
    const char *path = "";
    struct classify c = {.top_k = 5};
    const struct flag flags[] = {
        {.name = "model",
         .type = FLAG_TEXT,
         .out = &path,
         .value = "PATH",
         .help = "a .safetensors file or a hub folder; without it the embedded model"},
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
         .help = "predictions a file (5)"},
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
    if (code == CMD_OK)
        code = classify(&config, model, &c, argv, argc);
    rn_model_free(model);
    config_done(&config);
    return code;
}
