/* The certificate of the HTTPS listener, which may be replaced while it serves: the library asks
 * for it at every handshake. Loop thread.
 *
 * The library's callback has no argument for us, hence the one static. A handshake under way may
 * still use a certificate that has been replaced, so those are kept until the end.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "server/http_internal.h"

#define MAX_CHAIN 8

struct certificate {
    struct certificate *replaced;
    gnutls_pcert_st chain[MAX_CHAIN];
    unsigned n_chain;
    gnutls_privkey_t key;
};

static struct certificate *current;

static void free_certificate(struct certificate *c)
{
    for (unsigned i = 0; i < c->n_chain; i++)
        gnutls_pcert_deinit(&c->chain[i]);
    if (c->key)
        gnutls_privkey_deinit(c->key);
    free(c);
}

static enum rn_status fail(struct rn_error *err, const char *path, int code)
{
    return rn_fail(err, RN_IO, "%.150s cannot be used for TLS: %s", path, gnutls_strerror(code));
}

static enum rn_status load(struct certificate *c, const char *certificate_path,
                           const char *key_path, struct rn_error *err)
{
    gnutls_datum_t text = {0};
    unsigned n = MAX_CHAIN;
    int code = gnutls_load_file(certificate_path, &text);
    if (code == 0) {
        code = gnutls_pcert_list_import_x509_raw(c->chain, &n, &text, GNUTLS_X509_FMT_PEM, 0);
        gnutls_free(text.data);
    }
    if (code < 0)
        return fail(err, certificate_path, code);
    c->n_chain = n;
    code = gnutls_load_file(key_path, &text);
    if (code == 0) {
        code = gnutls_privkey_init(&c->key);
        if (code == 0)
            code = gnutls_privkey_import_x509_raw(c->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
        gnutls_memset(text.data, 0, text.size);
        gnutls_free(text.data);
    }
    if (code < 0)
        return fail(err, key_path, code);
    gnutls_pubkey_t of_key;
    uint8_t ids[2][64];
    size_t sizes[2] = {sizeof ids[0], sizeof ids[1]};
    code = gnutls_pubkey_init(&of_key);
    if (code < 0)
        return fail(err, key_path, code);
    code = gnutls_pubkey_import_privkey(of_key, c->key, 0, 0);
    if (code == 0)
        code = gnutls_pubkey_get_key_id(of_key, 0, ids[0], &sizes[0]);
    if (code == 0)
        code = gnutls_pubkey_get_key_id(c->chain[0].pubkey, 0, ids[1], &sizes[1]);
    gnutls_pubkey_deinit(of_key);
    if (code < 0)
        return fail(err, key_path, code);
    if (sizes[0] != sizes[1] || gnutls_memcmp(ids[0], ids[1], sizes[0]) != 0)
        return rn_fail(err, RN_IO, "%.100s is not the key of the certificate %.100s", key_path,
                       certificate_path);
    return RN_OK;
}

enum rn_status http_tls_load(const char *certificate_path, const char *key_path,
                             struct rn_error *err)
{
    struct certificate *c = calloc(1, sizeof *c);
    if (!c)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the certificate");
    const enum rn_status status = load(c, certificate_path, key_path, err);
    if (status != RN_OK) {
        free_certificate(c);
        return status;
    }
    c->replaced = current;
    current = c;
    return RN_OK;
}

void http_tls_done(void)
{
    while (current) {
        struct certificate *c = current;
        current = c->replaced;
        free_certificate(c);
    }
}

static int find_certificate(gnutls_session_t session, const gnutls_datum_t *authorities,
                            int n_authorities, const gnutls_pk_algorithm_t *algorithms,
                            int n_algorithms, gnutls_pcert_st **chain, unsigned *n_chain,
                            gnutls_privkey_t *key)
{
    (void)session;
    (void)authorities;
    (void)n_authorities;
    (void)algorithms;
    (void)n_algorithms;
    *chain = current->chain;
    *n_chain = current->n_chain;
    *key = current->key;
    return 0;
}

void http_tls_options(bool on, struct MHD_OptionItem items[HTTP_TLS_OPTIONS])
{
    static const struct MHD_OptionItem none = {MHD_OPTION_END, 0, NULL};
    static char versions[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    items[0] = none;
    if (!on)
        return;
    items[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, versions};
    items[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0,
                                       (void *)(uintptr_t)find_certificate};
    items[2] = none;
}

bool http_tls_send(struct MHD_Connection *mhd, const void *bytes, size_t n)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info && gnutls_record_send(info->tls_session, bytes, n) == (ssize_t)n;
}
