/* Decoding in confined processes: what a hostile image can take over, crash or hang is a helper
 * that has nothing, and the price is that one upload.
 *
 *   daemon ──┬─ helper 0     one per decode worker: a socket, the slot in shared memory that holds
 *            │  helper 1     its upload and its pixels, and no right to anything else
 *            └─ zygote ─────▶ forks the helpers, reaps the dead ones and forks new ones
 *
 * The zygote is this program again (`resnetd decode-zygote`), started with an empty environment,
 * so that neither it nor a helper has ever had a key, a token or somebody else's upload in its
 * memory; it is small, so that a fork of it takes less than a millisecond. Should it die itself,
 * with all its helpers, another one is started by sandbox_tend() or by the next decode.
 *
 * A slot belongs to one worker thread at a time; different slots run in parallel. Nothing that a
 * helper writes is believed: see sandbox_check.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_SANDBOX_H
#define RESNETD_SERVER_SANDBOX_H

#include "server/pixels.h"

struct sandbox;

struct sandbox_options {
    const char *program; /* to start as zygote: this one, or in tests the one to be tested */
    int n_slots;
    size_t max_file_bytes;
    size_t max_memory; /* what one decoding may take, see rn_image_limits */
};

/* Starts the zygote and its helpers and waits until one has confined itself. RN_IO, RN_NO_MEMORY.
 */
RN_MUST_USE enum rn_status sandbox_open(const struct sandbox_options *options, struct sandbox **out,
                                        struct rn_error *err);
/* Ends all helpers. Only while nothing runs; NULL is fine. */
void sandbox_close(struct sandbox *sandbox);

/* To be called when a child process has ended: replaces a zygote that has. Loop thread. */
void sandbox_tend(struct sandbox *sandbox);

/* False where this kernel or build has no system call filter: then a helper is a process without
 * descriptors and with limits, but may ask the kernel for anything. */
bool sandbox_is_filtered(const struct sandbox *sandbox);

enum sandbox_end {
    SANDBOX_DONE,     /* result is the helper's */
    SANDBOX_CRASHED,  /* by the decoder's own doing: signal */
    SANDBOX_KILLED,   /* by somebody else, or it could not be started */
    SANDBOX_TOO_SLOW, /* it was far over limits.max_cpu_ms, and has been killed */
    SANDBOX_STARVED,  /* it got too little CPU for too long, and has been killed */
};

/* pixels_make() in the slot's helper. *rgb points into the slot: borrowed until its next run, and
 * the helper may scribble on it. *signal is what ended a helper, 0 if that is not known. */
RN_MUST_USE enum sandbox_end sandbox_run(struct sandbox *sandbox, int slot,
                                         const struct pixels_order *order, const uint8_t *bytes,
                                         size_t n, struct pixels_result *result,
                                         const uint8_t **rgb, int *signal);

/* Helpers that have died so far. Any thread. */
uint64_t sandbox_deaths(const struct sandbox *sandbox);

/* `resnetd decode-zygote`: descriptor 0 is the daemon's control socket. Returns an exit code. */
int sandbox_zygote(void);

#endif
