/* Files of keys and certificates, and a list of networks.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/credentials.h"

#include "config/config.h"
#include "server/http.h"

bool credentials_have_tls(const struct config *config)
{
    return config->tls_certificate[0] != '\0';
}

enum rn_status credentials_open(const struct config *config, struct credentials *out,
                                struct rn_error *err)
{
    struct credentials opened = {0};
    enum rn_status status = RN_OK;
    if (credentials_have_tls(config) != (config->tls_key[0] != '\0'))
        return rn_fail(err, RN_BAD_ARGUMENT, "tls_certificate and tls_key go together");
    for (int i = 0; i < config->trusted_proxies.n && status == RN_OK; i++)
        status = proxies_add(&opened.proxies, config->trusted_proxies.items[i], err);
    if (status == RN_OK && config->api_keys[0])
        status = keys_open(config->api_keys, &opened.keys, err);
    if (status == RN_OK && credentials_have_tls(config))
        status = http_tls_load(config->tls_certificate, config->tls_key, err);
    if (status == RN_OK)
        *out = opened;
    else
        credentials_done(&opened);
    return status;
}

void credentials_done(struct credentials *credentials)
{
    keys_free(credentials->keys);
    credentials->keys = NULL;
}
