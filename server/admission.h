/* How far a prediction is to be trusted: the quantile of past predictions that an accepted request
 * must not exceed.
 *
 * Pure. Times are nanoseconds. A prediction is the time from now until everything ahead and the
 * request itself have been through the engine, at the learned pace; reality adds noise to it, in
 * proportion, and the time that a busy event loop takes to answer. Both are learned as the value
 * that 997 of 1000 stay below (stochastic approximation: Robbins and Monro, 1951).
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_ADMISSION_H
#define RESNETD_SERVER_ADMISSION_H

#include <stdint.h>

struct admission {
    double margin;          /* what real times are at most, in predicted ones */
    double lag_ns;          /* what it takes at most from a batch's end to the written answer */
    double offered_ns;      /* work offered of late, each piece weighing less as time goes by */
    uint64_t offered_at_ns; /* when that was so */
};

void admission_init(struct admission *admission);
/* A request that was predicted to take so long took so long. */
void admission_learn(struct admission *admission, uint64_t predicted_ns, uint64_t actual_ns);
/* An answer was written so long after its batch had ended. */
void admission_learn_lag(struct admission *admission, uint64_t lag_ns);
/* Work that takes a fully busy server so long was asked for. */
void admission_offered(struct admission *admission, uint64_t work_ns, uint64_t now_ns);
/* Work offered per time, of late: 1 is all that can be done. */
double admission_saturation(const struct admission *admission, uint64_t now_ns);
/* What of a deadline to keep for the answer. */
uint64_t admission_answer_ns(const struct admission *admission);
/* What a client that sees this prediction should count on. */
uint64_t admission_bound_ns(const struct admission *admission, uint64_t predicted_ns);

#endif
