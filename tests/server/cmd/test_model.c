/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "server/cmd/model.h"

Test(model, the_smaller_the_network_the_larger_the_batch)
{
    cr_assert_eq(model_batch(0), 32);
    cr_assert_eq(model_batch(81000000), 32);   /* ResNet-20 for CIFAR-10 */
    cr_assert_eq(model_batch(250000000), 16);  /* ResNet-56 */
    cr_assert_eq(model_batch(3600000000), 8);  /* ResNet-18 */
    cr_assert_eq(model_batch(23000000000), 8); /* ResNet-152 */
}
