/* Sockets that a service manager opened for us: sd_listen_fds(3), without libsystemd.
 *
 * Before any thread is started, since it takes the variables out of the environment.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PASSED_H
#define RESNETD_SERVER_PASSED_H

#include "engine/engine.h"

/* Addresses for listen_open, "fd:3"; "" where no socket was passed. */
struct passed {
    char http[16], admin[16], agent[16];
};

/* By FileDescriptorName=: admin, agent; any other name is the public one. Each at most once:
 * RN_BAD_ARGUMENT. No child inherits them. */
enum rn_status passed_take(struct passed *out, struct rn_error *err)
    __attribute__((warn_unused_result));

#endif
