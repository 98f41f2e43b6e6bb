/* The line for HAProxy's agent-check, and who is greeted with "ready".
 *
 * SPDX-License-Identifier: MIT */
#include "server/agent.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

TestSuite(agent);

#define SECOND_NS ((uint64_t)1000000000)

static void expect_line(struct agent_report report, const char *expected)
{
    char line[AGENT_LINE_SIZE];
    const size_t n = agent_write(&report, line);
    cr_expect_str_eq(line, expected);
    cr_expect_eq(n, strlen(expected));
}

Test(agent, capacity_is_told_in_percent_of_a_reference_machine)
{
    /* 3.6 GFLOP: 20 ms + 360 ms on the reference machine */
    struct agent_report report = {.state = AGENT_READY,
                                  .image_ns = 380000000,
                                  .flops = 3600000000,
                                  .n_receiving = 3,
                                  .n_slots = 12};
    expect_line(report, "up 100% maxconn:15\n");
    report.image_ns = 19000000;
    report.fresh = true;
    expect_line(report, "ready up 2000% maxconn:15\n");
}

Test(agent, no_percentage_makes_a_weight_of_zero_or_is_beyond_what_haproxy_takes)
{
    struct agent_report report = {.state = AGENT_READY, .n_slots = 4};
    expect_line(report, "up 100% maxconn:4\n"); /* nothing learned */
    report.image_ns = UINT64_MAX;
    expect_line(report, "up 100% maxconn:4\n");
    report.image_ns = 1;
    report.flops = UINT64_MAX;
    report.n_receiving = SIZE_MAX - 4;
    expect_line(report, "up 25600% maxconn:18446744073709551615\n"); /* still fits */
}

Test(agent, who_cannot_serve_says_so)
{
    expect_line((struct agent_report){.state = AGENT_LOADING}, "down #loading\n");
    expect_line((struct agent_report){.state = AGENT_STUCK, .fresh = true}, "down #stuck\n");
    expect_line((struct agent_report){.state = AGENT_DRAINING, .fresh = true}, "drain\n");
}

Test(agent, ready_is_for_new_balancers_and_those_that_were_silent)
{
    struct agent_balancers balancers = {0};
    struct in6_addr a = {0}, b = {0};
    a.s6_addr[0] = 10;
    cr_expect(agent_is_fresh(&balancers, &a, 1 * SECOND_NS));
    cr_expect(agent_is_fresh(&balancers, &a, 10 * SECOND_NS));
    cr_expect_not(agent_is_fresh(&balancers, &a, 11 * SECOND_NS));
    cr_expect(agent_is_fresh(&balancers, &b, 12 * SECOND_NS), "another one, on a local socket");
    cr_expect_not(agent_is_fresh(&balancers, &a, 71 * SECOND_NS));
    cr_expect(agent_is_fresh(&balancers, &a, 132 * SECOND_NS), "silent for 61 s");
    cr_expect_not(agent_is_fresh(&balancers, &a, 143 * SECOND_NS));
}

Test(agent, the_most_silent_balancer_is_forgotten_first)
{
    struct agent_balancers balancers = {0};
    struct in6_addr address = {0};
    for (uint8_t i = 1; i <= AGENT_BALANCERS + 1; i++) {
        address.s6_addr[15] = i;
        cr_expect(agent_is_fresh(&balancers, &address, i * SECOND_NS));
    }
    cr_expect_not(agent_is_fresh(&balancers, &address, 30 * SECOND_NS));
    address.s6_addr[15] = 2;
    cr_expect_not(agent_is_fresh(&balancers, &address, 31 * SECOND_NS), "still there");
    address.s6_addr[15] = 1;
    cr_expect(agent_is_fresh(&balancers, &address, 32 * SECOND_NS), "forgotten");
}

static void report_ready(void *context, struct agent_report *out)
{
    (void)context;
    *out = (struct agent_report){.state = AGENT_READY, .n_slots = 7};
}

static int connect_to(const struct agent *agent)
{
    const char *port = strrchr(agent_address(agent), ':') + 1;
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)atoi(port)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

Test(agent, tells_each_connection_one_line_and_closes_it)
{
    struct agent *agent = NULL;
    struct rn_error err;
    uv_loop_t loop;
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(agent_open(&loop, "127.0.0.1:0", report_ready, NULL, &agent, &err), RN_OK);
    for (int i = 0; i < 3; i++) {
        char text[128] = "";
        const int fd = connect_to(agent);
        (void)uv_run(&loop, UV_RUN_ONCE);
        cr_expect_gt(read(fd, text, sizeof text - 1), 0);
        cr_expect_str_eq(text, "ready up 100% maxconn:7\n");
        cr_expect_eq(read(fd, text, sizeof text), 0, "closed");
        close(fd);
    }
    struct agent *second = NULL;
    cr_expect_eq(agent_open(&loop, agent_address(agent) + strlen("tcp://"), report_ready, NULL,
                            &second, &err),
                 RN_IO);
    agent_close(agent);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

/* The connection stays in the kernel's queue: without a pause the loop would spin on it. */
Test(agent, pauses_where_there_are_no_descriptors_and_then_goes_on)
{
    struct agent *agent = NULL;
    struct rn_error err;
    struct rlimit limit;
    uv_loop_t loop;
    char text[128] = "";
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(agent_open(&loop, "127.0.0.1:0", report_ready, NULL, &agent, &err), RN_OK);
    const int fd = connect_to(agent), next = dup(fd);
    cr_assert_eq(close(next), 0);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {(rlim_t)next, limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    (void)uv_run(&loop, UV_RUN_ONCE);
    struct pollfd waited_for = {.fd = uv_backend_fd(&loop), .events = POLLIN};
    cr_expect_eq(poll(&waited_for, 1, 0), 0, "it is not waited for now");
    cr_expect_eq(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (recv(fd, text, sizeof text - 1, MSG_DONTWAIT) < 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_str_eq(text, "ready up 100% maxconn:7\n");
    close(fd);
    agent_close(agent);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}
