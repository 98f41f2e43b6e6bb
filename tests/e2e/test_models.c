/* Models change while the server serves: PUT, DELETE, SIGHUP; who may, and that nothing is lost.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/support_server.h"
#include "tests/support_folder.h"

#define MODEL "config/models/cifar10-resnet20.safetensors"
#define RELOADS 20
#define POLLS 600 /* of 100 ms, for what comes soon */

TestSuite(e2e_models, .init = folder_make, .fini = folder_remove, .timeout = 300);

static void put(const struct server *server, const char *name, const char *file,
                struct reply *reply)
{
    char path[300], body[600];
    (void)snprintf(path, sizeof path, "/models/%s", name);
    (void)snprintf(body, sizeof body, "{\"path\":\"%s\"}", file);
    ask(server, &(struct ask){.method = "PUT", .path = path, .body = body, .n = strlen(body)},
        reply);
}

static void classify(const struct server *server, const char *query, long status)
{
    char path[300];
    struct reply reply;
    (void)snprintf(path, sizeof path, "/classify%s", query);
    ask_file(server, path, PHOTO, &reply);
    cr_assert_eq(reply.status, status, "%s", reply.body);
    reply_done(&reply);
}

static void wait_for_metric(const struct server *server, const char *series, double value)
{
    for (int i = 0; i < POLLS && server_metric(server, series) < value; i++)
        (void)usleep(100000);
    cr_assert_geq(server_metric(server, series), value, "%s", series);
}

Test(e2e_models, one_is_put_serves_and_is_removed)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--model one=" MODEL);
    classify(&server, "?model=two", 404);
    put(&server, "two", MODEL, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    cr_assert_str_eq(json_string_value(json_object_get(reply.json, "name")), "two");
    reply_done(&reply);
    classify(&server, "?model=two", 200);
    classify(&server, "", 200);
    ask(&server, &(struct ask){.method = "DELETE", .path = "/models/two"}, &reply);
    cr_assert_eq(reply.status, 204);
    reply_done(&reply);
    classify(&server, "?model=two", 404);
    ask(&server, &(struct ask){.method = "DELETE", .path = "/models/two"}, &reply);
    reply_is_problem(&reply, 404, "unknown-model");
    reply_done(&reply);
    ask(&server, &(struct ask){.method = "DELETE", .path = "/models/one"}, &reply);
    reply_is_problem(&reply, 409, "last-model");
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_models, a_body_may_name_one)
{
    static const char *const names[] = {"two", "one"};
    struct server server;
    struct reply reply;
    server_start(&server, "--model one=" MODEL " --model two=" MODEL);
    for (size_t i = 0; i < 2; i++) {
        char format[64];
        (void)snprintf(format, sizeof format, "{\"image\":\"%%s\",\"model\":\"%s\"}", names[i]);
        ask_json(&server, format, &reply);
        cr_assert_eq(reply.status, 200, "%s", reply.body);
        const json_t *model = json_object_get(reply.json, "model");
        cr_assert_str_eq(json_string_value(json_object_get(model, "name")), names[i]);
        reply_done(&reply);
    }
    ask_json(&server, "{\"image\":\"%s\",\"model\":\"three\"}", &reply);
    reply_is_problem(&reply, 404, "unknown-model");
    reply_done(&reply);
    ask_json(&server, "{\"image\":\"%s\",\"model\":\"two\",\"top_k\":11}", &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_models, a_bad_one_changes_nothing)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--model one=" MODEL);
    put(&server, "one", PHOTO, &reply);
    reply_is_problem(&reply, 422, "model-refused");
    reply_done(&reply);
    put(&server, "one", "/does/not/exist", &reply);
    reply_is_problem(&reply, 422, "model-refused");
    reply_done(&reply);
    put(&server, "a=b", MODEL, &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
    ask(&server, &(struct ask){.method = "PUT", .path = "/models/one", .body = "[]", .n = 2},
        &reply);
    reply_is_problem(&reply, 400, "bad-json");
    reply_done(&reply);
    static const char misspelt[] = "{\"path\":\"" MODEL "\",\"lables\":\"x\"}";
    ask(&server,
        &(struct ask){
            .method = "PUT", .path = "/models/one", .body = misspelt, .n = strlen(misspelt)},
        &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
    ask(&server, &(struct ask){.method = "PUT", .path = "/models/one"}, &reply);
    reply_is_problem(&reply, 400, "empty-body");
    reply_done(&reply);
    put(&server, "a%0ab", MODEL, &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
    cr_assert_eq(server_metric(&server, "resnetd_model_reloads_total{result=\"failed\"}"), 2);
    classify(&server, "?model=one", 200);
    server_stop(&server);
}

Test(e2e_models, only_operators_may)
{
    static const char *const passed_on[] = {"Origin: https://example.org",
                                            "X-Forwarded-For: 192.0.2.1", "Forwarded: for=x"};
    struct server server;
    struct reply reply;
    server_start(&server, "--model one=" MODEL " --cors-origin=* --admin-token=secret");
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++) {
        const struct ask delete = {
            .method = "DELETE", .path = "/models/one", .headers = {passed_on[i]}};
        ask(&server, &delete, &reply);
        reply_is_problem(&reply, 403, "forbidden");
        cr_assert_null(reply_header(&reply, "Access-Control-Allow-Origin"));
        reply_done(&reply);
    }
    const struct ask wrong = {.method = "DELETE",
                              .path = "/models/one",
                              .headers = {passed_on[1], "Authorization: Bearer secre"}};
    ask(&server, &wrong, &reply);
    reply_is_problem(&reply, 403, "forbidden");
    reply_done(&reply);
    const struct ask right = {.method = "DELETE",
                              .path = "/models/one",
                              .headers = {passed_on[1], "Authorization: Bearer secret"}};
    ask(&server, &right, &reply);
    reply_is_problem(&reply, 409, "last-model"); /* allowed, and then refused for another reason */
    reply_done(&reply);
    ask_get(&server, "/problems", &reply);
    cr_assert_null(strstr(reply.body, "secret"));
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_models, a_listener_of_their_own_keeps_others_out)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--model one=" MODEL " --admin-listen 127.0.0.1:0");
    const char *at = strstr(server.program.stderr_text, "listening for operators");
    cr_assert_not_null(at, "%s", server.program.stderr_text);
    struct server admin = server;
    cr_assert_eq(sscanf(at, "%*[^=]=%127s", admin.url), 1);
    const struct ask delete = {.method = "DELETE", .path = "/models/one"};
    ask(&server, &delete, &reply);
    reply_is_problem(&reply, 403, "forbidden");
    reply_done(&reply);
    ask(&admin, &delete, &reply);
    reply_is_problem(&reply, 409, "last-model");
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_models, a_hangup_reads_settings_and_models_again_or_changes_nothing)
{
    struct server server;
    struct reply reply;
    char args[512];
    (void)snprintf(args, sizeof args, "--config %s", folder_file("resnetd.json"));
    folder_write_text("resnetd.json",
                      "{\"model\":[\"one=" MODEL "\"],\"top_k\":2,\"max_batch\":4}");
    server_start(&server, args);
    ask_file(&server, "/classify", PHOTO, &reply);
    cr_assert_eq(json_array_size(json_object_get(reply.json, "predictions")), 2);
    reply_done(&reply);

    folder_write_text("resnetd.json",
                      "{\"model\":[\"two=" MODEL "\"],\"top_k\":3,\"max_batch\":8}");
    cr_assert_eq(kill(server.program.pid, SIGHUP), 0);
    wait_for_metric(&server, "resnetd_model_reloads_total{result=\"ok\"}", 1);
    classify(&server, "?model=one", 404);
    ask_file(&server, "/classify?model=two", PHOTO, &reply);
    cr_assert_eq(json_array_size(json_object_get(reply.json, "predictions")), 3);
    reply_done(&reply);

    folder_write_text("resnetd.json", "{\"model\":[\"three=/does/not/exist\"],\"top_k\":4}");
    cr_assert_eq(kill(server.program.pid, SIGHUP), 0);
    wait_for_metric(&server, "resnetd_model_reloads_total{result=\"failed\"}", 1);
    ask_file(&server, "/classify?model=two", PHOTO, &reply);
    cr_assert_eq(json_array_size(json_object_get(reply.json, "predictions")), 3);
    reply_done(&reply);
    server_stop(&server);
}

/* A copy of the model with a name of its own in folder/where/model. */
static void place(const char *where)
{
    char command[1024];
    (void)snprintf(command, sizeof command, "mkdir %s/%s && cp %s %s/%s/model", folder_path(),
                   where, MODEL, folder_path(), where);
    cr_assert_eq(system(command), 0);
}

Test(e2e_models, a_hangup_looks_where_the_new_settings_say)
{
    struct server server;
    char args[512], json[600];
    place("old");
    (void)snprintf(args, sizeof args, "--config %s", folder_file("resnetd.json"));
    (void)snprintf(json, sizeof json, "{\"model\":[\"one=model\"],\"model_dir\":\"%s/old\"}",
                   folder_path());
    folder_write_text("resnetd.json", json);
    server_start(&server, args);
    (void)snprintf(json, sizeof json, "rm -r %s/old", folder_path());
    cr_assert_eq(system(json), 0);
    place("new");
    (void)snprintf(json, sizeof json, "{\"model\":[\"two=model\"],\"model_dir\":\"%s/new\"}",
                   folder_path());
    folder_write_text("resnetd.json", json);
    cr_assert_eq(kill(server.program.pid, SIGHUP), 0);
    wait_for_metric(&server, "resnetd_model_reloads_total{result=\"ok\"}", 1);
    classify(&server, "?model=two", 200);
    (void)snprintf(json, sizeof json,
                   "{\"model\":[\"two=model\"],\"model_dir\":\"%s/new\","
                   "\"max_model_bytes\":1048576}",
                   folder_path());
    folder_write_text("resnetd.json", json);
    cr_assert_eq(kill(server.program.pid, SIGHUP), 0);
    wait_for_metric(&server, "resnetd_model_reloads_total{result=\"failed\"}", 1);
    classify(&server, "?model=two", 200);
    server_stop(&server);
}

Test(e2e_models, reloads_under_load_lose_nothing)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--model one=" MODEL);
    for (int i = 1; i <= RELOADS; i++) {
        char series[] = "resnetd_model_reloads_total{result=\"ok\"}";
        cr_assert_eq(kill(server.program.pid, SIGHUP), 0);
        do {
            ask_file(&server, "/classify", PHOTO, &reply);
            cr_assert_eq(reply.status, 200, "%s", reply.body);
            reply_done(&reply);
        } while (server_metric(&server, series) < i);
    }
    server_stop(&server);
}
