/* What a server shows of a model and its decisions: the network, class-activation maps.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/support_server.h"

static struct server server;

static void start(void)
{
    server_start(&server, "");
}

static void stop(void)
{
    server_stop(&server);
}

TestSuite(e2e_seeing, .init = start, .fini = stop, .timeout = 300);

/* ---- the network ----------------------------------------------------------------------------- */

Test(e2e_seeing, the_network_is_what_inspect_prints)
{
    struct program program;
    struct reply reply;
    ask_get(&server, "/network", &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    cr_assert_eq(program_run(&program, "inspect --json"), 0, "%s", program.stderr_text);
    cr_assert_str_eq(reply.body, program.stdout_text);
    program_done(&program);
    reply_done(&reply);
    ask_get(&server, "/network?model=cifar10-resnet20", &reply);
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    ask_get(&server, "/network?model=none", &reply);
    reply_is_problem(&reply, 404, "unknown-model");
    reply_done(&reply);
    ask_get(&server, "/network?layer=1", &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
}

/* Every layer is reached from the input through layers before it. */
Test(e2e_seeing, layers_are_connected)
{
    struct reply reply;
    ask_get(&server, "/network", &reply);
    const json_t *layers = json_object_get(reply.json, "layers");
    json_t *seen = json_object(), *layer;
    size_t i;
    json_array_foreach(layers, i, layer)
    {
        const json_t *inputs = json_object_get(layer, "inputs");
        const char *op = json_string_value(json_object_get(layer, "op"));
        cr_assert_eq(json_array_size(inputs), i == 0 ? 0 : strcmp(op, "add") == 0 ? 2 : 1);
        for (size_t k = 0; k < json_array_size(inputs); k++)
            cr_assert_not_null(json_object_get(seen, json_string_value(json_array_get(inputs, k))));
        cr_assert_eq(json_object_get(layer, "shortcut") != NULL, strcmp(op, "add") == 0);
        (void)json_object_set_new(seen, json_string_value(json_object_get(layer, "name")),
                                  json_true());
    }
    cr_assert_gt(i, 60);
    json_decref(seen);
    reply_done(&reply);
}
