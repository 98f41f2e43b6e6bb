/* Work that is not done twice: the same file for the same model is in flight once, and results may
 * be kept.
 *
 * Loop thread. Only requests of one image take part. A request that finds the same bytes in flight
 * follows that one, its leader: it takes no seat in any queue and gets the leader's scores. When
 * the leader ends without scores that others can use (its client left, its deadline was shorter
 * work), its followers go on by themselves.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_REUSE_H
#define RESNETD_SERVER_REUSE_H

#include <stdbool.h>
#include <stddef.h>

struct metrics;
struct request;
struct reuse;

/* A cache of so many bytes, 0 for none. NULL when out of memory. */
struct reuse *reuse_new(size_t cache_bytes, struct metrics *metrics);
void reuse_free(struct reuse *reuse); /* NULL allowed */

/* Finishes the request's image with a result from the cache; false when there is none. Only a
 * request with has_key can have one. */
bool reuse_cached(struct reuse *reuse, struct request *request);
/* Makes the request follow one with the same bytes and a deadline that is not later; false when
 * there is none. */
bool reuse_follow(struct reuse *reuse, struct request *request);
/* From now on others may follow this one. */
void reuse_lead(struct reuse *reuse, struct request *request);
/* The request ends or is cancelled: it leads and follows no more. Its followers, linked through
 * next_follower, are returned; a good result goes into the cache. */
struct request *reuse_leave(struct reuse *reuse, struct request *request);
/* Gives the leader's result to one of its former followers; false when it has none to give. */
bool reuse_share(const struct request *leader, struct request *follower);

#endif
