/* Networks, and a walk from the right through X-Forwarded-For, where each proxy has appended who
 * asked it. What a client has written there itself stands further left and is never reached.
 *
 * SPDX-License-Identifier: MIT */
#include "server/proxies.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of address[], where IPv4 starts. */
#define MAPPED_BYTES 12

static bool parse_address(const char *text, uint8_t address[16], bool *is_v4)
{
    static const uint8_t mapped[MAPPED_BYTES] = {[10] = 0xff, [11] = 0xff};
    memcpy(address, mapped, sizeof mapped);
    *is_v4 = inet_pton(AF_INET, text, address + MAPPED_BYTES) == 1;
    return *is_v4 || inet_pton(AF_INET6, text, address) == 1;
}

enum rn_status proxies_add(struct proxies *proxies, const char *text, struct rn_error *err)
{
    char address[INET6_ADDRSTRLEN];
    bool is_v4;
    const char *slash = strchr(text, '/');
    const size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (proxies->n == PROXIES_MAX)
        return rn_fail(err, RN_BAD_ARGUMENT, "more than %d trusted proxies", PROXIES_MAX);
    if (strcmp(text, "unix") == 0) {
        proxies->items[proxies->n++].prefix = -1;
        return RN_OK;
    }
    if (n < sizeof address) {
        memcpy(address, text, n);
        address[n] = '\0';
        if (parse_address(address, proxies->items[proxies->n].address, &is_v4)) {
            char *end = NULL;
            const int bits = is_v4 ? 32 : 128;
            const long prefix = slash ? strtol(slash + 1, &end, 10) : bits;
            if (!slash || (slash[1] >= '0' && slash[1] <= '9' && *end == '\0' && prefix <= bits)) {
                proxies->items[proxies->n++].prefix = (int)prefix + 128 - bits;
                return RN_OK;
            }
        }
    }
    return rn_fail(err, RN_BAD_ARGUMENT,
                   "trusted_proxies: \"%.100s\" is not an address, a network like 10.0.0.0/8, or "
                   "unix",
                   text);
}

static bool in_network(const uint8_t address[16], const uint8_t network[16], int prefix)
{
    const int whole = prefix / 8, rest = prefix % 8;
    return memcmp(address, network, (size_t)whole) == 0 &&
           (rest == 0 || (address[whole] ^ network[whole]) >> (8 - rest) == 0);
}

static bool is_trusted(const struct proxies *proxies, const char *text)
{
    uint8_t address[16];
    bool is_v4;
    const bool local = strcmp(text, "unix") == 0;
    if (!local && !parse_address(text, address, &is_v4))
        return false;
    for (int i = 0; i < proxies->n; i++) {
        const int prefix = proxies->items[i].prefix;
        if (local ? prefix < 0
                  : prefix >= 0 && in_network(address, proxies->items[i].address, prefix))
            return true;
    }
    return false;
}

/* The part of a comma-separated list that ends at *end, trimmed; *end moves to the comma before.
 * False where it is no address. */
static bool last_entry(const char *list, size_t *end, char entry[INET6_ADDRSTRLEN])
{
    size_t stop = *end, start;
    uint8_t address[16];
    bool is_v4;
    while (stop > 0 && (list[stop - 1] == ' ' || list[stop - 1] == '\t'))
        stop--;
    for (start = stop; start > 0 && list[start - 1] != ','; start--)
        ;
    *end = start > 0 ? start - 1 : 0;
    while (start < stop && (list[start] == ' ' || list[start] == '\t'))
        start++;
    if (stop - start >= INET6_ADDRSTRLEN)
        return false;
    memcpy(entry, list + start, stop - start);
    entry[stop - start] = '\0';
    return parse_address(entry, address, &is_v4);
}

void proxies_client(const struct proxies *proxies, const char *peer, const char *forwarded_for,
                    char *out, size_t n)
{
    char client[INET6_ADDRSTRLEN];
    bool found = false;
    size_t end = forwarded_for && is_trusted(proxies, peer) ? strlen(forwarded_for) : 0;
    while (end > 0) {
        char entry[INET6_ADDRSTRLEN];
        if (!last_entry(forwarded_for, &end, entry))
            break;
        memcpy(client, entry, sizeof client);
        found = true;
        if (!is_trusted(proxies, client))
            break;
    }
    const char *answer = found ? client : peer;
    if (answer != out)
        (void)snprintf(out, n, "%s", answer);
}
