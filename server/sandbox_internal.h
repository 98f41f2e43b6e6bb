/* What the daemon's side of the sandbox (sandbox.c), the zygote (sandbox_zygote.c) and the
 * confinement (sandbox_confine.c) say to each other.
 *
 * All sockets are SOCK_SEQPACKET: a message comes whole or not at all.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_SANDBOX_INTERNAL_H
#define RESNETD_SERVER_SANDBOX_INTERNAL_H

#include "server/sandbox.h"

/* Room in a slot for the pixels that a network sees, and a preview. */
#define SANDBOX_MAX_RGB_BYTES                                                                      \
    ((size_t)3 * RN_MAX_INPUT_SIDE * RN_MAX_INPUT_SIDE + PIXELS_PREVIEW_BYTES)

/* A slot in shared memory: this, then the file, then the pixels, each from a page's beginning. */
struct sandbox_slot {
    struct pixels_order order;
    struct pixels_result result;
    size_t n_bytes; /* of the file */
};

struct sandbox_layout {
    size_t file_at, rgb_at, slot_bytes;
};
struct sandbox_layout sandbox_layout(size_t max_file_bytes);

/* Daemon -> zygote, first and with the shared memory's descriptor: everything it needs to know. */
struct sandbox_setup {
    int n_slots;
    size_t max_file_bytes, max_memory;
};

/* Daemon -> zygote: with a socket, the helper's end for this slot; without, kill its helper. */
struct sandbox_command {
    int slot;
};

enum sandbox_message_kind {
    SANDBOX_BORN,  /* zygote -> daemon: value is the helper's process id */
    SANDBOX_READY, /* helper -> daemon: value is 1 where system calls are filtered */
    SANDBOX_DIED,  /* zygote -> daemon: value is the signal, 0 if it could not be started */
    SANDBOX_RUN,   /* daemon -> helper */
    SANDBOX_RAN,   /* helper -> daemon, with the number of the run */
};

/* On a slot's socket, of which the zygote keeps a copy of the helper's end. */
struct sandbox_message {
    enum sandbox_message_kind kind;
    int value;
    uint64_t run;
};

/* Could an honest helper have answered this, now, to an order with a file of n bytes? Ends the
 * error's text and drops an impossible info. The caller holds a copy, not the shared memory. */
bool sandbox_check_result(const struct pixels_order *order, size_t n, uint64_t now_ns,
                          struct pixels_result *result);

/* Takes from this process, for good, what a decoder does not need: new descriptors, files, cores,
 * memory beyond `max_memory` more than now, and all system calls but a few that concern its own
 * memory and the descriptors that it has. Anything else ends it by SIGSYS. False where there is no
 * filter. */
bool sandbox_confine(size_t max_memory);

#endif
