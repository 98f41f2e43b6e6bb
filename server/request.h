/* A classification: one exchange, one or more images, their states and time stamps.
 *
 * The loop owns a request; while an image is being decoded or is in a running batch its worker
 * has that image (and only it) until the after-callback. All times are monotonic nanoseconds
 * (uv_hrtime), 0 = not yet.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_REQUEST_H
#define RESNETD_SERVER_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "server/cache.h"
#include "server/problem.h"

struct registry_model;
struct request;

enum request_state {
    REQUEST_WAITING,  /* for a decode worker */
    REQUEST_DECODING, /* on a worker */
    REQUEST_QUEUED,   /* in the batcher */
    REQUEST_RUNNING,  /* in a batch */
    REQUEST_FINISHED, /* scores or problem are set */
};

/* Where the scores of a request's one image come from. */
enum request_source { REQUEST_COMPUTED, REQUEST_CACHED, REQUEST_COALESCED };

/* One image of a request. */
struct request_image {
    struct request *request;
    struct request_image *next; /* in the decode queue or the batcher */
    enum request_state state;
    const char *name;     /* file name from the form, else ""; owned by the request */
    const uint8_t *bytes; /* the file; borrowed from the exchange's body or from `owned` */
    size_t n_bytes;
    uint8_t *owned;            /* decoded base64, else NULL */
    struct rn_image_info info; /* valid once has_info */
    bool has_info;
    float *tensor;    /* [3][h][w] */
    bool is_tensor;   /* came as that: there is no file */
    uint8_t *rgb;     /* [h][w][3] that the network saw, kept when request->keep_rgb */
    uint8_t *preview; /* the upright image, when request->keep_preview */
    int preview_width, preview_height;
    float *logits;  /* [classes] */
    float *cam;     /* class-activation map, for request->explain: [cam[0]][cam[1]] */
    float cam_bias; /* of its class */
    int cam_class;
    int batch_size;         /* of the batch it ran in */
    struct problem problem; /* type PROBLEM_NONE when it worked */
    uint64_t decode_start_ns, decode_end_ns, preprocess_end_ns, batch_start_ns, batch_end_ns;
};

struct request {
    struct registry_model *model; /* referenced; released by request_free */
    struct request_image *images; /* [n_images]; set before submit or by parse */
    int n_images, n_finished;
    bool keep_rgb, keep_preview;
    bool has_preview_seat; /* the pipeline's: counts among those that keep a preview */
    bool explain;          /* images want class-activation maps */
    int explain_class;     /* of this class; < 0: of the best one */
    atomic_bool cancelled; /* the client left: what has not started will not */
    uint64_t arrived_ns, received_ns, deadline_ns;
    bool redated;                       /* by request_redate */
    uint64_t admitted_ns, predicted_ns; /* the pipeline's: when it took it, for how long */
    struct problem problem;             /* of the request as a whole (parse failed, refused) */
    /* On a worker, before any decode: turns the body into images (JSON, base64, forms), sets
     * `problem` on failure. NULL when images are set already. */
    void (*parse)(struct request *request);
    /* On a worker that has the engine to itself, when nobody else wants it: instead of a place in a
     * batch. Of requests with one image. */
    void (*alone)(struct request *request, struct rn_session *session);
    /* On a worker, when the images are finished and one worked: makes of the answer what takes
     * long. NULL: nothing does. */
    void (*render)(struct request *request);
    /* On the loop, once: every image is finished, or `problem` is set. */
    void (*done)(struct request *request);
    void *user; /* the handler's: its exchange and parameters */
    /* The pipeline's: its queue of requests that still want a worker. */
    struct request *next;
    int n_started;  /* images handed to a worker */
    bool on_worker; /* is being parsed or rendered now */
    /* What is known about the same file elsewhere, see reuse.h. */
    struct cache_key key; /* by parse, when has_key */
    bool has_key, leads;
    enum request_source source;
    uint64_t sample;
    struct request *next_leader, *leader, *followers, *next_follower;
};

/* Zeroed, with n images (0: parse will add them by request_images). NULL when out of memory. */
struct request *request_new(int n_images);
/* Allocates the images of a request that has none. RN_NO_MEMORY. */
enum rn_status request_images(struct request *request, int n_images)
    __attribute__((warn_unused_result));
/* Of parse: the body's deadline, which may be another one than it was admitted with. */
void request_redate(struct request *request, uint64_t deadline_ns);
/* The two problems of time. Late: the deadline passed in `stage` ("receive", "decode", "queue",
 * "inference"). Unmeetable: the rest would take predicted_ns where the deadline leaves left_ns. */
void request_late(struct problem *problem, const char *stage);
void request_unmeetable(struct problem *problem, uint64_t predicted_ns, uint64_t left_ns);
/* What became of an image, as resnetd_images_total has it: ok, rejected, canceled, expired,
 * invalid. */
const char *request_outcome(enum problem_type problem, bool cancelled);
enum request_stage {
    REQUEST_RECEIVE,
    REQUEST_DECODE,
    REQUEST_PREPROCESS,
    REQUEST_QUEUE,
    REQUEST_INFERENCE,
    REQUEST_RESPOND,
    N_REQUEST_STAGES
};
extern const char *const request_stage_names[N_REQUEST_STAGES];
/* Cuts an image's time, without gaps, into milliseconds for each stage; 0 where it did not get to.
 * `queue` is what is neither receiving nor work on this image (for a decode worker, for its batch);
 * `respond` runs from its batch's end to end_ns, 0 for not yet. */
void request_stages(const struct request_image *image, uint64_t end_ns,
                    double ms[N_REQUEST_STAGES]);
/* The image whose batch ended last; NULL where there is none. */
const struct request_image *request_last_image(const struct request *request);
/* The answer's `cache`: miss, hit or coalesced. */
const char *request_source_name(const struct request *request);
/* Frees the images' buffers and the request; releases the model; NULL allowed. */
void request_free(struct request *request);

#endif
