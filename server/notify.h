/* Tells systemd how the service is (sd_notify's protocol, without libsystemd).
 *
 * Loop thread. Does nothing when $NOTIFY_SOCKET is not set.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_NOTIFY_H
#define RESNETD_SERVER_NOTIFY_H

/* `state` is lines of KEY=value: "READY=1", "STOPPING=1". */
void notify_send(const char *state);

#endif
