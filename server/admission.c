/* Two running quantiles and a running mean.
 *
 * SPDX-License-Identifier: MIT */
#include "server/admission.h"

#include <math.h>

#define MEMORY_NS 10e9 /* of what was offered */
#define QUANTILE 0.997
#define MARGIN_STEP 0.04
#define MIN_MARGIN 1.0
#define MAX_MARGIN 3.0
#define LAG_STEP_NS 500e3
#define MIN_LAG_NS 500e3
#define MAX_LAG_NS 50e6
#define TICK_NS 4e6 /* of the kernel's clock, by which it is known when a request came in */

/* One step of Robbins and Monro: at the quantile, the rare long steps up and the frequent short
 * ones down cancel out. */
static double follow(double estimate, double value, double step)
{
    return value > estimate ? estimate + step * QUANTILE : estimate - step * (1 - QUANTILE);
}

static double clamp(double value, double min, double max)
{
    return value < min ? min : value > max ? max : value;
}

void admission_init(struct admission *admission)
{
    *admission = (struct admission){.margin = 1.1, .lag_ns = 2e6};
}

void admission_learn(struct admission *admission, uint64_t predicted_ns, uint64_t actual_ns)
{
    if (predicted_ns == 0)
        return;
    const double ratio = (double)actual_ns / (double)predicted_ns;
    admission->margin =
        clamp(follow(admission->margin, ratio, MARGIN_STEP), MIN_MARGIN, MAX_MARGIN);
}

void admission_learn_lag(struct admission *admission, uint64_t lag_ns)
{
    admission->lag_ns =
        clamp(follow(admission->lag_ns, (double)lag_ns, LAG_STEP_NS), MIN_LAG_NS, MAX_LAG_NS);
}

static double remembered_ns(const struct admission *admission, uint64_t now_ns)
{
    return admission->offered_ns * exp(-(double)(now_ns - admission->offered_at_ns) / MEMORY_NS);
}

void admission_offered(struct admission *admission, uint64_t work_ns, uint64_t now_ns)
{
    admission->offered_ns = remembered_ns(admission, now_ns) + (double)work_ns;
    admission->offered_at_ns = now_ns;
}

double admission_saturation(const struct admission *admission, uint64_t now_ns)
{
    return remembered_ns(admission, now_ns) / MEMORY_NS;
}

uint64_t admission_answer_ns(const struct admission *admission)
{
    return (uint64_t)(admission->lag_ns + TICK_NS);
}

uint64_t admission_bound_ns(const struct admission *admission, uint64_t predicted_ns)
{
    return (uint64_t)((double)predicted_ns * admission->margin) + admission_answer_ns(admission);
}
