/* The engine's front: open = read -> weights -> graph -> plan, run, scores.
 *
 * Models are immutable once opened and may be shared by threads; a session belongs to one thread at
 * a time. Sees every room below and is seen by none of them.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/engine.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/cpu.h"
#include "engine/base/huge.h"
#include "engine/base/threads.h"
#include "engine/cam.h"
#include "engine/features.h"
#include "engine/load/file.h"
#include "engine/load/meta.h"
#include "engine/load/resnet.h"
#include "engine/load/textfile.h"
#include "engine/plan/plan.h"

#define DIGEST_PIECE ((size_t)1 << 20)
#define DIGEST_TEXT (sizeof "sha256:" + 2 * (size_t)SHA256_DIGEST_SIZE)
#define MAX_PACKERS 8 /* threads: memory is no faster with more */

struct rn_model {
    struct rn_model_info info;
    struct meta meta;   /* owns labels, ids and texts that info points to */
    struct arena texts; /* layers and their names */
    struct rn_layer *layers;
    struct plan_tap *taps; /* [n_layers] */
    size_t n_layers;
    struct plan *plan;
    char digest[DIGEST_TEXT];
    size_t max_bytes;
    char architecture[64];
};

struct rn_session {
    const struct rn_model *model;
    struct rn_threads *threads;
    void *arena;
    struct rn_step *steps;
    uint64_t *step_ns;
    bool profile;
};

/* ---- opening --------------------------------------------------------------------------------- */

static void digest(const uint8_t *bytes, size_t n, void (*rest)(void), char text[DIGEST_TEXT])
{
    struct sha256_ctx sha;
    uint8_t hash[SHA256_DIGEST_SIZE];
    sha256_init(&sha);
    for (size_t at = 0; at < n; at += DIGEST_PIECE) {
        sha256_update(&sha, n - at < DIGEST_PIECE ? n - at : DIGEST_PIECE, bytes + at);
        if (rest)
            rest();
    }
    sha256_digest(&sha, sizeof hash, hash);
    int length = snprintf(text, DIGEST_TEXT, "sha256:");
    for (size_t i = 0; i < sizeof hash; i++)
        length += snprintf(text + length, DIGEST_TEXT - (size_t)length, "%02x", hash[i]);
}

/* Copies the layer rows and their names, so that they outlive the graph, which is told to keep
 * track of them. */
static enum rn_status keep_layers(struct rn_model *m, struct graph *graph, struct rn_error *err)
{
    m->n_layers = (size_t)graph->n_nodes;
    m->layers = arena_array(&m->texts, m->n_layers, sizeof *m->layers);
    m->taps = arena_array(&m->texts, m->n_layers, sizeof *m->taps);
    graph->where = arena_array(&m->texts, m->n_layers, sizeof *graph->where);
    if (!m->layers || !m->taps || !graph->where)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the layer table");
    graph->n_where = graph->n_nodes;
    for (int i = 0; i < graph->n_nodes; i++)
        graph->where[i] = i;
    graph_stats(graph, m->layers);
    for (size_t i = 0; i < m->n_layers; i++) {
        size_t n = strlen(m->layers[i].name) + 1;
        char *name = arena_alloc(&m->texts, n);
        if (!name)
            return rn_fail(err, RN_NO_MEMORY, "out of memory for the layer table");
        m->layers[i].name = memcpy(name, m->layers[i].name, n);
        m->info.parameters += m->layers[i].parameters;
        m->info.flops += m->layers[i].flops;
    }
    return RN_OK;
}

static enum rn_status settle_batch(struct rn_model *m, const struct rn_model_options *options,
                                   struct rn_error *err)
{
    const int n = options->choose_batch ? options->choose_batch(m->info.flops) : options->max_batch;
    if (n < 1 || n > RN_MAX_BATCH)
        return rn_fail(err, RN_BAD_ARGUMENT, "a largest batch of %d: 1 to %d are possible", n,
                       RN_MAX_BATCH);
    m->info.max_batch = n;
    return RN_OK;
}

static enum rn_status no_kernels(const char *name, struct rn_error *err)
{
    char names[128] = "";
    size_t at = 0;
    for (size_t i = 0; i < kernels_count() && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i > 0 ? ", " : "",
                               kernels_at(i)->name);
    return rn_fail(err, RN_BAD_ARGUMENT, "cpu: there are no kernels named %.60s here, only %s",
                   name, names);
}

/* weights -> graph -> layers, plan. */
static enum rn_status build(struct rn_model *m, struct weights *weights, const char *folder,
                            const struct rn_model_options *options, struct rn_error *err)
{
    struct graph graph = {.rest = options->rest};
    struct resnet net;
    struct rn_threads *team = NULL; /* packs, where nobody is to be spared */
    const struct kernels *kernels = kernels_find(options->cpu);
    if (!kernels)
        return no_kernels(options->cpu, err);
    enum rn_status status = meta_read(weights, folder, &m->meta, err);
    if (status == RN_OK && options->labels)
        status = meta_read_labels(&m->meta, options->labels, err);
    if (status == RN_OK)
        status = resnet_build(weights, m->meta.stride_in_1x1, &graph, &net, err);
    if (status == RN_OK)
        status = meta_settle(&m->meta, net.classes, net.imagenet_stem, err);
    if (status == RN_OK) {
        int side = m->meta.recipe.crop;
        status = graph_infer(&graph, (struct shape){3, side, side}, err);
    }
    if (status == RN_OK)
        status = keep_layers(m, &graph, err);
    if (status == RN_OK)
        status = settle_batch(m, options, err);
    if (status == RN_OK) {
        graph_optimize(&graph);
        features_taps(m->layers, m->n_layers, graph.where, m->taps);
    }
    if (status == RN_OK && !options->rest) {
        const int n = rn_threads_available();
        status = rn_threads_new(n < MAX_PACKERS ? n : MAX_PACKERS, &team, err);
    }
    if (status == RN_OK) {
        const struct plan_options how = {.max_batch = m->info.max_batch,
                                         .kernels = kernels,
                                         .direct = options->direct,
                                         .drop_weights = true,
                                         .team = team,
                                         .rest = options->rest};
        status = plan_compile(&graph, &how, &m->plan, err);
    }
    rn_threads_free(team);
    graph_done(&graph);
    if (status != RN_OK)
        return status;
    memcpy(m->architecture, net.architecture, sizeof m->architecture);
    m->info.classes = net.classes;
    m->info.kernels = kernels->name;
    return RN_OK;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* The path's last component without ".safetensors". */
static enum rn_status name_from_path(struct rn_model *m, const char *path, struct rn_error *err)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    static const char suffix[] = ".safetensors";
    size_t n = sizeof suffix - 1;
    if (end - start > n && memcmp(path + end - n, suffix, n) == 0)
        end -= n;
    free(m->meta.name);
    m->meta.name = strndup(path + start, end - start);
    return m->meta.name ? RN_OK : rn_fail(err, RN_NO_MEMORY, "out of memory for the model's name");
}

/* One that can be shown in a line. */
static bool is_name(const char *name)
{
    for (const char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return textfile_is_utf8(name, strlen(name));
}

static void fill_info(struct rn_model *m)
{
    struct rn_model_info *i = &m->info;
    i->name = m->meta.name;
    i->version = or_empty(m->meta.version);
    i->source = or_empty(m->meta.source);
    i->accuracy = or_empty(m->meta.accuracy);
    i->digest = m->digest;
    i->precision = "fp32";
    i->architecture = m->architecture;
    i->input[0] = 3;
    i->input[1] = i->input[2] = m->meta.recipe.crop;
    i->cam[0] = m->plan->map.h;
    i->cam[1] = m->plan->map.w;
    i->labels = (const char *const *)m->meta.labels;
    i->ids = (const char *const *)m->meta.ids;
    i->weights_bytes = m->plan->weights.bytes;
    i->recipe = m->meta.recipe;
    i->golden = m->meta.golden;
}

/* Everything between the bytes of a file and a model. */
struct opening {
    const uint8_t *bytes;
    size_t n;
    const char *origin, *folder; /* folder: NULL without */
    const struct rn_model_options *options;
    struct rn_model *model;
    enum rn_status status;
    struct rn_error *err;
};

static enum rn_status load(const struct opening *o)
{
    struct rn_model *m = o->model;
    struct weights weights = {0};
    struct rn_error why = {0};
    enum rn_status status = safetensors_read(o->bytes, o->n, o->origin, &weights, o->err);
    if (status == RN_OK) {
        status = build(m, &weights, o->folder, o->options, &why);
        if (status != RN_OK)
            (void)rn_fail(o->err, status, "%.100s: %s", o->origin, why.text);
    }
    weights_done(&weights);
    if (status == RN_OK && o->options->name) {
        free(m->meta.name);
        m->meta.name = strdup(o->options->name);
        status = m->meta.name ? RN_OK : rn_fail(o->err, RN_NO_MEMORY, "out of memory for a name");
    }
    if (status == RN_OK && !*or_empty(m->meta.name))
        status = name_from_path(m, o->origin, o->err);
    if (status == RN_OK && !is_name(m->meta.name))
        status =
            rn_fail(o->err, RN_BAD_ARGUMENT,
                    "%.100s: its name is not UTF-8 text without control characters", o->origin);
    return status;
}

/* Items 0 and 1: the packing, and the digest of the same bytes beside it. */
static void open_item(void *context, int item)
{
    struct opening *o = context;
    if (item == 1) {
        digest(o->bytes, o->n, o->options->rest, o->model->digest);
        return;
    }
    unsigned long denormals = cpu_denormals_flush(); /* on whichever thread it is */
    o->status = load(o);
    cpu_denormals_restore(denormals);
}

static enum rn_status open_bytes(const uint8_t *bytes, size_t n, const char *origin,
                                 const char *folder, const struct rn_model_options *options,
                                 struct rn_model **out, struct rn_error *err)
{
    struct rn_threads *team = NULL;
    struct opening o = {bytes, n, origin, folder, options, calloc(1, sizeof *o.model), RN_OK, err};
    if (!o.model)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for a model");
    enum rn_status status = rn_threads_new(options->rest ? 1 : 2, &team, err); /* rests: alone */
    if (status == RN_OK) {
        threads_run(team, 2, open_item, &o);
        rn_threads_free(team);
        status = o.status;
    }
    if (status != RN_OK) {
        rn_model_free(o.model);
        return status;
    }
    fill_info(o.model);
    o.model->max_bytes = options->max_bytes;
    *out = o.model;
    return RN_OK;
}

enum rn_status rn_model_open_memory(const void *bytes, size_t n, const char *origin,
                                    const struct rn_model_options *options, struct rn_model **out,
                                    struct rn_error *err)
{
    return open_bytes(bytes, n, origin, NULL, options, out, err);
}

enum rn_status rn_model_open(const char *path, const struct rn_model_options *options,
                             struct rn_model **out, struct rn_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return rn_fail(err, RN_IO, "%.150s: %s", path, strerror(errno));
    bool folder = S_ISDIR(st.st_mode);
    char file[PATH_MAX];
    if (snprintf(file, sizeof file, "%s%s", path, folder ? "/model.safetensors" : "") >=
        (int)sizeof file)
        return rn_fail(err, RN_IO, "%.150s…: the path is too long", path);
    uint8_t *bytes;
    size_t n;
    enum rn_status status = file_read(file, options->rest, &bytes, &n, err);
    if (status != RN_OK)
        return status;
    status = open_bytes(bytes, n, path, folder ? path : NULL, options, out, err);
    free(bytes);
    return status;
}

void rn_model_free(struct rn_model *m)
{
    if (!m)
        return;
    plan_free(m->plan);
    meta_done(&m->meta);
    arena_done(&m->texts);
    free(m);
}

const struct rn_model_info *rn_model_info(const struct rn_model *m)
{
    return &m->info;
}

const struct rn_layer *rn_model_layers(const struct rn_model *m, size_t *n)
{
    *n = m->n_layers;
    return m->layers;
}

/* ---- running --------------------------------------------------------------------------------- */

size_t rn_model_arena_bytes(const struct rn_model *m, int n_threads)
{
    return plan_arena_bytes(m->plan, n_threads);
}

enum rn_status rn_session_new(const struct rn_model *model, struct rn_threads *threads,
                              struct rn_session **out, struct rn_error *err)
{
    const struct plan *plan = model->plan;
    const size_t bytes = rn_model_arena_bytes(model, rn_threads_count(threads));
    const size_t all = model->info.weights_bytes + bytes;
    if (model->max_bytes > 0 && all > model->max_bytes)
        return rn_fail(err, RN_BAD_MODEL, "%.100s: it takes %zu bytes of memory, %zu are allowed",
                       model->info.name, all, model->max_bytes);
    struct rn_session *s = calloc(1, sizeof *s);
    if (!s)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for a session");
    s->model = model;
    s->threads = threads;
    s->arena = huge_alloc(bytes);
    s->steps = calloc((size_t)plan->n_steps, sizeof *s->steps);
    s->step_ns = calloc((size_t)plan->n_steps, sizeof *s->step_ns);
    if (!s->arena || !s->steps || !s->step_ns) {
        rn_session_free(s);
        return rn_fail(err, RN_NO_MEMORY, "out of memory for a session of %zu bytes", bytes);
    }
    for (int i = 0; i < plan->n_steps; i++) {
        const struct plan_step *step = &plan->steps[i];
        s->steps[i] = (struct rn_step){
            .name = step->name,
            .algorithm = step->prepared.algorithm,
            .flops = step->flops,
            .work = step->prepared.work > 0 ? step->prepared.work : step->flops,
            .weights_bytes = step->weights_bytes,
            .map_bytes = step->map_bytes,
        };
    }
    *out = s;
    return RN_OK;
}

void rn_session_free(struct rn_session *s)
{
    if (!s)
        return;
    free(s->arena);
    free(s->steps);
    free(s->step_ns);
    free(s);
}

void rn_session_profile(struct rn_session *s, bool on)
{
    s->profile = on;
}

void rn_session_run(struct rn_session *s, const float *const *inputs, int n, float *logits)
{
    size_t classes = (size_t)s->model->info.classes;
    size_t row = (size_t)channel_blocks(s->model->info.classes) * CHANNEL_BLOCK;
    unsigned long denormals = cpu_denormals_flush();
    const float *out =
        plan_run(s->model->plan, s->arena, inputs, n, s->threads, s->profile ? s->step_ns : NULL);
    cpu_denormals_restore(denormals);
    for (size_t i = 0; i < (size_t)n; i++)
        memcpy(logits + i * classes, out + i * row, classes * sizeof *logits);
}

void rn_session_cam(const struct rn_session *s, int i, int class, float *grid, float *bias)
{
    const struct plan *plan = s->model->plan;
    const struct linear_row row = linear_row(&plan->steps[plan->n_steps - 1].prepared, class);
    cam_grid(plan_map(plan, s->arena, i), plan->map, row, grid);
    *bias = row.bias;
}

void rn_session_features(struct rn_session *s, const float *input, size_t layer, int n,
                         int *channels, float *means, float *maps)
{
    const struct rn_layer *row = &s->model->layers[layer];
    const struct plan_tap *tap = &s->model->taps[layer];
    unsigned long denormals = cpu_denormals_flush();
    const struct features_map map = {
        .values = plan_run_tap(s->model->plan, s->arena, input, tap, s->threads),
        .shape = {row->output[1], row->output[2], row->output[3]},
        .planar = tap->step == 0,
    };
    cpu_denormals_restore(denormals);
    features_rank(&map, n, channels, means);
    for (int i = 0; i < n; i++)
        features_channel(&map, channels[i],
                         maps + (size_t)i * (size_t)map.shape.h * (size_t)map.shape.w);
}

const struct rn_step *rn_session_steps(const struct rn_session *s, size_t *n)
{
    *n = (size_t)s->model->plan->n_steps;
    for (size_t i = 0; i < *n; i++)
        s->steps[i].ns = s->step_ns[i];
    return s->steps;
}

const char *rn_cpu_name(size_t i)
{
    return i < kernels_count() ? kernels_at(i)->name : NULL;
}

/* ---- scores ---------------------------------------------------------------------------------- */

void rn_softmax(const float *logits, int classes, float *scores)
{
    float largest = logits[0];
    for (int i = 1; i < classes; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    double sum = 0;
    for (int i = 0; i < classes; i++)
        sum += exp((double)(logits[i] - largest));
    for (int i = 0; i < classes; i++)
        scores[i] = (float)(exp((double)(logits[i] - largest)) / sum);
}

void rn_top_k(const float *scores, int classes, int k, int *top)
{
    int n = 0;
    for (int i = 0; i < classes; i++) {
        if (n == k && !(scores[i] > scores[top[n - 1]]))
            continue;
        int at = n < k ? n++ : n - 1;
        for (; at > 0 && scores[i] > scores[top[at - 1]]; at--)
            top[at] = top[at - 1];
        top[at] = i;
    }
}
