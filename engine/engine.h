/* The boundary of the engine: image bytes in, class scores out.
 *
 * The server, the command line and the tests use the engine through this header only. It knows
 * no HTTP and no event loop, writes no log and never exits. Nouns:
 *
 *   rn_image    decoded pixels, RGB, 8 bit
 *   rn_model    a loaded network with its labels and its recipe; immutable, any number of threads
 *   rn_threads  a fork-join team of threads; one run at a time
 *   rn_session  the memory for one run at a time of one model; one thread at a time
 *
 * Ownership: what a *_new or *_open returns belongs to the caller, who ends it with *_free; all
 * *_free accept NULL. Results come through `out` and are untouched on failure.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_ENGINE_H
#define RESNETD_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/status.h"

#define RN_MUST_USE __attribute__((warn_unused_result))

/* ---- images: bytes -> pixels -> tensor ------------------------------------------------------ */

enum rn_interpolation { RN_BILINEAR, RN_BICUBIC };

/* The longest side that a model may want. */
#define RN_MAX_INPUT_SIDE 2896 /* so that the positions of RN_MAX_BATCH images are an int */

/* How pixels become the tensor that a network was trained on. Rounding is torchvision's,
 * resampling is Pillow's (8 bit, antialiased, two passes). */
struct rn_recipe {
    int resize; /* the shorter side becomes this many pixels; the longer int(resize*long/short) */
    int crop;   /* side of the square cut from the centre = input size of the network */
    enum rn_interpolation interpolation;
    float mean[3], std[3]; /* per channel R, G, B, of pixel values scaled to 0…1 */
};

/* What an upload may cost. All but the time is checked from the header, before memory is taken. */
struct rn_image_limits {
    size_t max_bytes;  /* of the file */
    int max_side;      /* pixels */
    size_t max_pixels; /* width * height; progressive JPEG and PNG may have half of it */
    int max_scans;     /* of a JPEG */
    size_t max_memory; /* bytes that a decoder may hold at once */
    int max_cpu_ms;    /* CPU time that a decoder may take; looked at now and then */
    bool full_size;    /* decode all pixels of a JPEG, also where a fraction of them is enough */
};
extern const struct rn_image_limits rn_image_limits_default;

enum rn_image_format { RN_FORMAT_JPEG, RN_FORMAT_PNG };

/* What the header says; width and height are after orientation. */
struct rn_image_info {
    enum rn_image_format format;
    int width, height;
    int exif_orientation; /* 1…8, 1 where the file says nothing */
    size_t bytes;         /* of the file */
};

/* "jpeg", "png". */
const char *rn_image_format_name(enum rn_image_format format);

/* What the magic bytes of `bytes` say in lower case ("jpeg", "png", "webp", "heic", "avif", "gif",
 * "pdf", "svg", …), "unknown" for everything else. Never NULL, never fails. */
const char *rn_image_sniff(const uint8_t *bytes, size_t n);

/* Upright RGB pixels: [⌈height / reduction⌉][⌈width / reduction⌉][3]. */
struct rn_image {
    struct rn_image_info info;
    int reduction; /* 1, 2, 4 or 8 */
    uint8_t *rgb;  /* owned */
};

/* Reads the file without decoding its pixels, and applies the limits. RN_UNSUPPORTED_FORMAT,
 * RN_IMAGE_*. */
RN_MUST_USE enum rn_status rn_image_probe(const uint8_t *bytes, size_t n,
                                          const struct rn_image_limits *limits,
                                          struct rn_image_info *out, struct rn_error *err);

/* Decodes JPEG (grey, YCbCr, RGB, CMYK, YCCK; baseline and progressive) and PNG (all), applies the
 * EXIF orientation, drops alpha, replicates grey: what Pillow's exif_transpose + convert("RGB")
 * give. End with rn_image_done(). */
RN_MUST_USE enum rn_status rn_image_decode(const uint8_t *bytes, size_t n,
                                           const struct rn_image_limits *limits,
                                           struct rn_image *out, struct rn_error *err);
/* The same for a recipe. What is much larger than it wants may come reduced: a JPEG by its DCT, as
 * long as the shorter side keeps four times recipe->resize. */
RN_MUST_USE enum rn_status rn_image_decode_for(const uint8_t *bytes, size_t n,
                                               const struct rn_image_limits *limits,
                                               const struct rn_recipe *recipe, struct rn_image *out,
                                               struct rn_error *err);
void rn_image_done(struct rn_image *image);
/* The reduction that rn_image_decode_for() will choose: 1, 2, 4 or 8. */
int rn_image_reduction(const struct rn_image_info *info, const struct rn_image_limits *limits,
                       const struct rn_recipe *recipe);

/* Resize and centre crop: rgb is [crop][crop][3]. RN_NO_MEMORY. */
RN_MUST_USE enum rn_status rn_image_crop(const struct rn_image *image,
                                         const struct rn_recipe *recipe, uint8_t *rgb,
                                         struct rn_error *err);

/* The size of an image whose longer side is at most `side`, larger ones being scaled down. */
void rn_image_fit(int width, int height, int side, int *fit_width, int *fit_height);

/* The whole image in another size: rgb is [height][width][3]. RN_NO_MEMORY. */
RN_MUST_USE enum rn_status rn_image_scale(const struct rn_image *image, int width, int height,
                                          uint8_t *rgb, struct rn_error *err);

/* The part of an upright image of this size that rn_image_crop takes, in its own pixels. */
struct rn_region {
    double x, y, width, height;
};
struct rn_region rn_image_region(int width, int height, const struct rn_recipe *recipe);

/* tensor[c][y][x] = (rgb[y][x][c] / 255 - mean[c]) / std[c]; tensor is [3][crop][crop]. */
void rn_image_normalize(const uint8_t *rgb, const struct rn_recipe *recipe, float *tensor);

/* ---- models --------------------------------------------------------------------------------- */

struct rn_model;

struct rn_model_options {
    const char *name;   /* shown name; NULL: resnetd.name in the file, else the path's stem */
    const char *labels; /* path of a file with one label a line; NULL: what the model says */
    const char *cpu;    /* kernel table to use ("portable", "avx2", …); NULL: the best there is */
    int max_batch;      /* images a run may have, 1…RN_MAX_BATCH */
    /* Decides that instead, once the network's FLOPs for an image are known; or NULL. */
    int (*choose_batch)(uint64_t flops);
    bool direct;      /* neither Winograd, Strassen nor bf16x3: slower, smaller errors */
    size_t max_bytes; /* of a session with the model's weights; one of more fails; 0: any */
    /* Called between pieces of work of some milliseconds, by every thread that works on it; may
     * sleep. NULL: nobody is to be spared. */
    void (*rest)(void);
};
#define RN_MAX_BATCH 256

/* Lives as long as the model. Texts are valid UTF-8. */
struct rn_model_info {
    const char *name, *version, *source, *accuracy; /* "" where the file says nothing */
    const char *digest;       /* "sha256:<64 hex digits>" of the weights file */
    const char *precision;    /* "fp32" */
    const char *architecture; /* "resnet50", "resnet20-cifar", … */
    const char *kernels;      /* the kernel table chosen: "avx2" */
    int classes;
    int input[3]; /* channels, height, width of one image */
    int cam[2];   /* height, width of a class-activation map */
    int max_batch;
    const char *const *labels; /* [classes] */
    const char *const *ids;    /* [classes], or NULL where the file has none */
    uint64_t parameters;       /* learnable: weights, biases, BN's gamma and beta */
    uint64_t flops;            /* multiply + add = 2, one image */
    size_t weights_bytes;      /* packed */
    struct rn_recipe recipe;
    const float
        *golden; /* [classes], the logits of rn_golden_input(); NULL where the file has none */
};

/* The input whose logits a model file may carry as resnetd.golden: element k of the tensor is
 * (k * 2654435761 mod 2^32) / 256, rounded down, / 2^23 - 1. tensor: [channels][height][width]. */
void rn_golden_input(const struct rn_model_info *info, float *tensor);

/* Opens a .safetensors file or a folder with model.safetensors (and the hub's config.json and
 * preprocessor_config.json). The file is read whole and checked before use, then packed for this
 * CPU, then dropped. RN_IO, RN_BAD_MODEL, RN_UNSUPPORTED_MODEL, RN_NO_MEMORY, RN_NO_THREADS,
 * RN_BAD_ARGUMENT. */
RN_MUST_USE enum rn_status rn_model_open(const char *path, const struct rn_model_options *options,
                                         struct rn_model **out, struct rn_error *err);

/* The same from the bytes of a .safetensors file in memory, borrowed during the call;
 * `origin` stands for the path in messages. */
RN_MUST_USE enum rn_status rn_model_open_memory(const void *bytes, size_t n, const char *origin,
                                                const struct rn_model_options *options,
                                                struct rn_model **out, struct rn_error *err);
void rn_model_free(struct rn_model *model);
const struct rn_model_info *rn_model_info(const struct rn_model *model);

#define RN_STAGE_STEM 0
#define RN_STAGE_HEAD 5 /* average pooling and the classifier */

/* How a residual block's input gets to its end (He et al. 2015, section 3.3). */
enum rn_shortcut {
    RN_SHORTCUT_NONE,
    RN_SHORTCUT_IDENTITY,   /* as it is; by a layer `shortcut` where the shape changes: option A */
    RN_SHORTCUT_PROJECTION, /* through a convolution of its own */
};

#define RN_LAYER_MAX_INPUTS 2

/* A layer as `inspect` shows it: the network as written in the file, before any fusion. */
struct rn_layer {
    const char *name;   /* the file's own, prefix dropped: "layer1.0.conv1" */
    const char *op;     /* "conv", "bn", "relu", "maxpool", … */
    int kernel, stride; /* 0 where it has none */
    int output[4];      /* n=1, c, h, w */
    uint64_t parameters, flops;
    int receptive_field; /* input pixels along one side that one output value sees */
    int jump;            /* input pixels from one output value to the next */
    double center;       /* of what the first output value sees, in input pixels from the edge */
    int inputs[RN_LAYER_MAX_INPUTS]; /* earlier rows that it reads, -1 where unused */
    int stage;                       /* RN_STAGE_STEM, 1…4, RN_STAGE_HEAD */
    int block;                       /* of its stage, from 0; -1 outside the stages */
    enum rn_shortcut shortcut;       /* of the addition that ends a residual block */
};
/* Borrowed from the model; *n = number of rows. */
const struct rn_layer *rn_model_layers(const struct rn_model *model, size_t *n);

/* Bytes of a session's maps and scratch, for max_batch images and a team of n threads. */
size_t rn_model_arena_bytes(const struct rn_model *model, int n_threads);

/* Name of the i-th kernel table that this build has and this CPU can run, best last; NULL past
 * the end. */
const char *rn_cpu_name(size_t i);

/* ---- running -------------------------------------------------------------------------------- */

struct rn_threads;

/* A team of n threads in all, the caller of a run being one of them; 1 to 1024. RN_BAD_ARGUMENT,
 * RN_NO_MEMORY, RN_NO_THREADS. */
RN_MUST_USE enum rn_status rn_threads_new(int n, struct rn_threads **out, struct rn_error *err);
void rn_threads_free(struct rn_threads *threads);
int rn_threads_count(const struct rn_threads *threads);

/* Has each of the team's threads ask `waits`, between the steps of a run, whether somebody waits
 * for a core, and let others run if so. To be called at most once for a team, before its runs;
 * `waits` is called by any thread and must take microseconds. */
typedef bool (*rn_threads_waits_fn)(void *context);
void rn_threads_give_way(struct rn_threads *threads, rn_threads_waits_fn waits, void *context);

/* Cores that this process may use: affinity mask and cgroup CPU quota (v1, v2), at least 1. */
int rn_threads_available(void);

struct rn_session;

/* Memory for runs of up to the model's max_batch images. Model and team are borrowed and must
 * outlive the session. */
RN_MUST_USE enum rn_status rn_session_new(const struct rn_model *model, struct rn_threads *threads,
                                          struct rn_session **out, struct rn_error *err);
void rn_session_free(struct rn_session *session);

/* Runs n images, 1 <= n <= max_batch: inputs[i] is [c][h][w], logits is [n][classes].
 * Allocates nothing and cannot fail. The logits of an image are the same bits whatever it was
 * batched with and however many threads there are. */
void rn_session_run(struct rn_session *session, const float *const *inputs, int n, float *logits);

/* The class-activation map of image i of the last run (Zhou et al. 2016): what each position of the
 * last feature map adds to the logit of a class. grid is [info->cam[0]][info->cam[1]]; its mean +
 * *bias is the logit, but for rounding. Allocates nothing. */
void rn_session_cam(const struct rn_session *session, int i, int class, float *grid, float *bias);

/* Feature maps of one image: runs it as far as row `layer` of rn_model_layers, whose output is
 * [c][h][w], and gives the n channels with the highest means, best first: 1 <= n <= c; channels and
 * means are [n], maps is [n][h][w]. Normalisation is folded into the convolution before it: the
 * output of a convolution is that of both, with its ReLU where one follows directly. Allocates
 * nothing. */
void rn_session_features(struct rn_session *session, const float *input, size_t layer, int n,
                         int *channels, float *means, float *maps);

/* A step of the compiled plan and how long it took in the last run. */
struct rn_step {
    const char *name, *algorithm; /* "layer1.0.conv1", "direct"; "fused": a part of another step */
    uint64_t flops;               /* of the layer's definition, one image */
    uint64_t work;                /* of the algorithm: less with Winograd's and Strassen's */
    uint64_t weights_bytes;       /* packed, read once in a run or once per image */
    uint64_t map_bytes;           /* feature maps read and written, one image */
    uint64_t ns;                  /* last run, whole batch */
};
/* Borrowed from the session, valid until its next run; *n = number of steps. Steps are only
 * timed after rn_session_profile(session, true). */
const struct rn_step *rn_session_steps(const struct rn_session *session, size_t *n);
void rn_session_profile(struct rn_session *session, bool on);

/* ---- scores --------------------------------------------------------------------------------- */

/* scores[i] = exp(logits[i]) / sum, computed without overflow; in place allowed. */
void rn_softmax(const float *logits, int classes, float *scores);

/* Indices of the k largest of scores[0…classes), best first, the lower index first among equals;
 * 1 <= k <= classes; top is [k]. */
void rn_top_k(const float *scores, int classes, int k, int *top);

/* What this machine can do, measured now in about `seconds` on all of the team's threads:
 * multiply+adds in registers and of a cache-resident convolution tile of the named kernel table
 * (NULL: the best), memory read bandwidth, and what a fork and join of the team costs.
 * RN_BAD_ARGUMENT, RN_NO_MEMORY. */
struct rn_machine {
    double fma_gflops, peak_gflops, bandwidth_gbs, fork_join_us;
};
RN_MUST_USE enum rn_status rn_machine_measure(struct rn_threads *threads, const char *cpu,
                                              double seconds, struct rn_machine *out,
                                              struct rn_error *err);

#endif
