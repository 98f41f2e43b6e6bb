/* Whose word about the client is taken.
 *
 * SPDX-License-Identifier: MIT */
#include "server/proxies.h"

#include <criterion/criterion.h>

static struct proxies proxies;

static void setup(void)
{
    static const char *const texts[] = {"10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "unix"};
    struct rn_error err;
    proxies = (struct proxies){0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_assert_eq(proxies_add(&proxies, texts[i], &err), RN_OK, "%s", err.text);
}

TestSuite(proxies, .init = setup);

static void expect_client(const char *peer, const char *forwarded, const char *client)
{
    char out[64];
    proxies_client(&proxies, peer, forwarded, out, sizeof out);
    cr_expect_str_eq(out, client, "%s behind %s: %s", forwarded, peer, out);
}

Test(proxies, the_client_is_the_last_address_that_no_proxy_of_ours_has)
{
    expect_client("10.1.2.3", "203.0.113.9", "203.0.113.9");
    expect_client("10.1.2.3", "198.51.100.1, 203.0.113.9", "203.0.113.9");
    expect_client("10.1.2.3", "203.0.113.9 ,10.9.9.9,\t192.0.2.7", "203.0.113.9");
    expect_client("::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9");
    expect_client("2001:db8:1::1", "2001:db8:ffff::1", "2001:db8:ffff::1");
    expect_client("2001:db8:1::1", "2001:db8:ffff::1, 2001:db8:7fff::1", "2001:db8:ffff::1");
    expect_client("unix", "203.0.113.9", "203.0.113.9");
    expect_client("10.1.2.3", "10.1.1.1", "10.1.1.1");
}

Test(proxies, nobody_else_is_believed)
{
    expect_client("203.0.113.9", "10.1.2.3", "203.0.113.9");
    expect_client("192.0.2.8", "127.0.0.1", "192.0.2.8");
    expect_client("10.1.2.3", "", "10.1.2.3");
    expect_client("10.1.2.3", NULL, "10.1.2.3");
    expect_client("10.1.2.3", "unknown", "10.1.2.3");
    expect_client("10.1.2.3", "127.0.0.1, x, 10.4.4.4", "10.4.4.4");
    expect_client("10.1.2.3", "203.0.113.9,", "10.1.2.3");
    expect_client("10.1.2.3", "203.0.113.9:80", "10.1.2.3");
}

Test(proxies, refuses_what_is_no_network)
{
    static const char *const wrong[] = {
        "",        "/8",        "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x",
        "::1/129", "localhost", "10.0.0"};
    struct rn_error err;
    const int n = proxies.n;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_eq(proxies_add(&proxies, wrong[i], &err), RN_BAD_ARGUMENT, "%s", wrong[i]);
    cr_expect_eq(proxies.n, n);
}
