/* Tells systemd how the service is (sd_notify's protocol, without libsystemd).
 *
 * Loop thread. Does nothing when $NOTIFY_SOCKET is not set.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_NOTIFY_H
#define RESNETD_SERVER_NOTIFY_H

/* `state` is lines of KEY=value: "READY=1", "STOPPING=1". Waits for a second at most where the
 * manager has many such to read. */
void notify_send(const char *state);
/* The same without waiting, for what is soon said again. */
void notify_again(const char *state);
/* RELOADING=1 with the time that it needs beside it; READY=1 is to follow. */
void notify_reloading(void);

#endif
