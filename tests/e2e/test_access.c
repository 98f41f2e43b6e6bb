/* Who may ask: API keys, HTTPS, and whom a proxy speaks for.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/support_server.h"
#include "tests/support_folder.h"

/* SHA-256 of "abc" (FIPS 180-2, B.1) and of nothing. */
#define ABC "web ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"
#define NOTHING "x e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"

TestSuite(e2e_access, .timeout = 120, .init = folder_make, .fini = folder_remove);

static long classify(const struct server *server, const char *authorization)
{
    struct reply reply;
    size_t n;
    char *photo = read_file(PHOTO, &n);
    ask(server,
        &(struct ask){.path = "/classify", .headers = {authorization}, .body = photo, .n = n},
        &reply);
    const long status = reply.status;
    if (status == 401) {
        reply_is_problem(&reply, 401, "unauthorized");
        cr_expect_str_eq(reply_header(&reply, "WWW-Authenticate"), "Bearer realm=\"resnetd\"");
    } else if (status == 403) {
        reply_is_problem(&reply, 403, "forbidden");
    }
    reply_done(&reply);
    free(photo);
    return status;
}

static void hang_up(const struct server *server, const char *result)
{
    char series[80];
    (void)snprintf(series, sizeof series, "resnetd_model_reloads_total{result=\"%s\"}", result);
    const double before = server_metric(server, series);
    cr_assert_eq(kill(server->program.pid, SIGHUP), 0);
    while (server_metric(server, series) <= (before > 0 ? before : 0))
        ;
}

Test(e2e_access, keys_open_the_classifier_and_nothing_else_is_closed)
{
    struct server server;
    struct reply reply;
    char options[600];
    folder_write_text("keys", ABC);
    (void)snprintf(options, sizeof options, "--admin-token root --api-keys %s",
                   folder_file("keys"));
    server_start(&server, options);
    cr_expect_eq(classify(&server, NULL), 401);
    cr_expect_eq(classify(&server, "Authorization: Basic abc"), 401);
    cr_expect_eq(classify(&server, "Authorization: Bearer abd"), 403);
    cr_expect_eq(classify(&server, "Authorization: Bearer abc"), 200);
    cr_expect_eq(classify(&server, "Authorization: Bearer root"), 200);
    static const char *const open[] = {"/livez", "/readyz", "/metrics", "/problems", "/"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        ask_get(&server, open[i], &reply);
        cr_expect_eq(reply.status, 200, "%s", open[i]);
        reply_done(&reply);
    }
    static const char *const closed[] = {"/models", "/network"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        ask_get(&server, closed[i], &reply);
        reply_is_problem(&reply, 401, "unauthorized");
        reply_done(&reply);
    }

    folder_write_text("keys", NOTHING);
    hang_up(&server, "ok");
    cr_expect_eq(classify(&server, "Authorization: Bearer abc"), 403);
    folder_write_text("keys", "nonsense\n");
    cr_assert_eq(kill(server.program.pid, SIGHUP), 0);
    cr_expect_eq(classify(&server, "Authorization: Bearer abc"), 403);
    server_stop(&server);
}

Test(e2e_access, a_trusted_proxy_names_the_client)
{
    static const char *const options[] = {"", "--trusted-proxies 127.0.0.0/8"};
    for (int trusted = 0; trusted < 2; trusted++) {
        struct server server;
        struct reply reply;
        char text[100];
        (void)snprintf(text, sizeof text, "--admin-token root %s", options[trusted]);
        server_start(&server, text);
        size_t n;
        char *photo = read_file(PHOTO, &n);
        ask(&server,
            &(struct ask){.path = "/classify",
                          .headers = {"X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 203.0.113.9"},
                          .body = photo,
                          .n = n},
            &reply);
        cr_expect_eq(reply.status, 200);
        reply_done(&reply);
        ask_get(&server, "/debug/requests", &reply);
        const json_t *row = json_array_get(json_object_get(reply.json, "requests"), 0);
        cr_expect_str_eq(json_string_value(json_object_get(row, "peer")),
                         trusted ? "203.0.113.9" : "127.0.0.1");
        reply_done(&reply);
        free(photo);
        server_stop(&server);
    }
}

/* ---- HTTPS -------------------------------------------------------------------------------------
 */

/* A certificate for 127.0.0.1 signed by itself, and its key, into two files. */
static void make_certificate(const char *certificate_name, const char *key_name, const char *owner)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    gnutls_datum_t text;
    static const unsigned char address[] = {127, 0, 0, 1};
    cr_assert_eq(gnutls_x509_privkey_init(&key), 0);
    cr_assert_eq(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                              GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                 0);
    cr_assert_eq(gnutls_x509_crt_init(&crt), 0);
    (void)gnutls_x509_crt_set_version(crt, 3);
    (void)gnutls_x509_crt_set_serial(crt, "1", 1);
    (void)gnutls_x509_crt_set_activation_time(crt, time(NULL) - 3600);
    (void)gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600);
    (void)gnutls_x509_crt_set_basic_constraints(crt, 1, -1);
    (void)gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, owner,
                                        (unsigned)strlen(owner));
    (void)gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address, sizeof address,
                                               0);
    (void)gnutls_x509_crt_set_key(crt, key);
    cr_assert_eq(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
    cr_assert_eq(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text), 0);
    folder_write(certificate_name, text.data, text.size);
    gnutls_free(text.data);
    cr_assert_eq(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text), 0);
    folder_write(key_name, text.data, text.size);
    gnutls_free(text.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

static void tls_options(char *options, size_t n)
{
    char certificate[300];
    (void)snprintf(certificate, sizeof certificate, "%s", folder_file("cert.pem"));
    (void)snprintf(options, n, "--tls-certificate %s --tls-key %s --admin-listen 127.0.0.1:0",
                   certificate, folder_file("key.pem"));
}

Test(e2e_access, https_with_a_certificate_that_can_be_renewed)
{
    struct server server;
    char options[1000];
    make_certificate("cert.pem", "key.pem", "one");
    tls_options(options, sizeof options);
    server_start(&server, options);
    (void)snprintf(server.authorities, sizeof server.authorities, "%s", folder_file("cert.pem"));
    cr_expect_eq(classify(&server, NULL), 200);

    /* more than its header allows: an answer that is written by hand, in TLS too */
    struct reply reply;
    char *large = calloc(1, 11 << 20);
    ask(&server, &(struct ask){.path = "/classify", .body = large, .n = 11 << 20, .chunked = true},
        &reply);
    reply_is_problem(&reply, 413, "body-too-large");
    reply_done(&reply);
    free(large);

    size_t n[2];
    char both[8192];
    char *old = read_file(folder_file("cert.pem"), &n[0]);
    make_certificate("cert.pem", "key.pem", "two");
    char *new = read_file(folder_file("cert.pem"), &n[1]);
    (void)snprintf(both, sizeof both, "%.*s%.*s", (int)n[0], old, (int)n[1], new);
    folder_write_text("both.pem", both);
    free(old);
    free(new);
    (void)snprintf(server.authorities, sizeof server.authorities, "%s", folder_file("both.pem"));
    hang_up(&server, "ok");
    (void)snprintf(server.authorities, sizeof server.authorities, "%s", folder_file("cert.pem"));
    cr_expect_eq(classify(&server, NULL), 200);

    make_certificate("other.pem", "key.pem", "three"); /* a key of another certificate */
    cr_assert_eq(kill(server.program.pid, SIGHUP), 0);
    cr_expect_eq(classify(&server, NULL), 200);
    server_stop(&server);
}

Test(e2e_access, refuses_to_start_with_half_a_certificate)
{
    struct program program;
    char options[1000];
    make_certificate("cert.pem", "other.pem", "one");
    make_certificate("third.pem", "key.pem", "two");
    (void)snprintf(options, sizeof options, "serve --listen 127.0.0.1:0 --tls-certificate %s",
                   folder_file("cert.pem"));
    cr_expect_eq(program_run(&program, options), 2);
    cr_expect(strstr(program.stderr_text, "tls_certificate and tls_key go together"));
    program_done(&program);
    tls_options(options, sizeof options);
    char args[1100];
    (void)snprintf(args, sizeof args, "serve --listen 127.0.0.1:0 %s", options);
    cr_expect_eq(program_run(&program, args), 1);
    cr_expect(strstr(program.stderr_text, "is not the key of the certificate"), "%s",
              program.stderr_text);
    program_done(&program);
}
