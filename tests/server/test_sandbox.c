/* Decoding in helper processes: the same pixels, what a helper may not do, and what becomes of a
 * run when processes die. The helpers are the real ones, of $RESNETD_BINARY.
 *
 * SPDX-License-Identifier: MIT */
#include "server/sandbox_internal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "tests/support_blob.h"
#include "tests/support_process.h"

enum { CROP = 24, N_RGB = 3 * CROP * CROP };

static struct sandbox *sandbox;
static struct pixels_order order;

static void setup(void)
{
    const struct sandbox_options options = {.program = getenv("RESNETD_BINARY"),
                                            .n_slots = 2,
                                            .max_file_bytes = 4 << 20,
                                            .max_memory = 64 << 20};
    struct rn_error err;
    cr_assert_not_null(options.program);
    order = (struct pixels_order){
        .limits = rn_image_limits_default,
        .recipe = {.resize = CROP, .crop = CROP, .interpolation = RN_BICUBIC, .std = {1, 1, 1}},
        .deadline_ns = UINT64_MAX};
    cr_assert_eq(sandbox_open(&options, &sandbox, &err), RN_OK, "%s", err.text);
}

static void teardown(void)
{
    sandbox_close(sandbox);
    pid_t left[4];
    cr_expect_eq(process_children(getpid(), left, 4), 0);
}

TestSuite(sandbox, .init = setup, .fini = teardown, .timeout = 120);

static enum sandbox_end run(int slot, const struct blob *file, struct pixels_result *result,
                            const uint8_t **rgb)
{
    int number;
    return sandbox_run(sandbox, slot, &order, file->bytes, file->n, result, rgb, &number);
}

static void expect_it_works(int slot)
{
    struct blob file = blob_golden("baseline-420.jpg");
    struct pixels_result result;
    const uint8_t *rgb;
    cr_expect_eq(run(slot, &file, &result, &rgb), SANDBOX_DONE);
    cr_expect_eq(result.verdict, PIXELS_MADE);
    blob_done(&file);
}

static pid_t find_zygote(void)
{
    pid_t children[4];
    cr_assert_eq(process_children(getpid(), children, 4), 1);
    return children[0];
}

/* The second one may still be on its way when the sandbox is open. */
static void find_helpers(pid_t helpers[2])
{
    while (process_children(find_zygote(), helpers, 2) < 2)
        ;
}

static void await_ends(const pid_t helpers[2])
{
    for (int i = 0; i < 2; i++)
        while (kill(helpers[i], 0) == 0)
            ;
}

Test(sandbox, gives_the_pixels_that_decoding_here_gives)
{
    static const char *const names[] = {"baseline-420.jpg", "cmyk-progressive.jpg",
                                        "grey16-interlaced.png", "orientation-6.png"};
    static uint8_t here[N_RGB];
    for (int i = 0; i < 4; i++) {
        struct blob file = blob_golden(names[i]);
        struct pixels_result expected, result;
        const uint8_t *rgb;
        pixels_make(&order, file.bytes, file.n, &expected, here);
        cr_assert_eq(run(i % 2, &file, &result, &rgb), SANDBOX_DONE);
        cr_expect_eq(result.verdict, PIXELS_MADE);
        cr_expect_eq(result.info.width, expected.info.width);
        cr_expect_eq(result.info.exif_orientation, expected.info.exif_orientation);
        cr_expect_arr_eq(rgb, here, N_RGB, "%s", names[i]);
        blob_done(&file);
    }
}

Test(sandbox, hands_on_why_an_image_is_refused_and_that_it_is_late)
{
    struct blob file = blob_golden("baseline-420.jpg");
    struct pixels_result result;
    const uint8_t *rgb;
    order.limits.max_side = 52;
    cr_expect_eq(run(0, &file, &result, &rgb), SANDBOX_DONE);
    cr_expect_eq(result.verdict, PIXELS_REFUSED);
    cr_expect_eq(result.status, RN_IMAGE_SIDE_TOO_LONG);
    cr_expect_str_eq(result.err.text, "53×38 pixels, the limit for a side is 52");
    order.limits = rn_image_limits_default;
    order.deadline_ns = uv_hrtime();
    cr_expect_eq(run(0, &file, &result, &rgb), SANDBOX_DONE);
    cr_expect_eq(result.verdict, PIXELS_LATE);
    order.deadline_ns += UINT64_C(60000000000);
    order.bounds.run_ns = UINT64_C(70000000000);
    cr_expect_eq(run(0, &file, &result, &rgb), SANDBOX_DONE);
    cr_expect_eq(result.verdict, PIXELS_UNMEETABLE);
    cr_expect_geq(result.predicted_ns, order.bounds.run_ns);
    blob_done(&file);
}

Test(sandbox, a_helper_killed_between_two_runs_costs_nothing)
{
    pid_t before[2], after[2];
    for (int round = 0; round < 5; round++) {
        find_helpers(before);
        for (int i = 0; i < 2; i++)
            cr_assert_eq(kill(before[i], round % 2 ? SIGKILL : SIGABRT), 0);
        do
            find_helpers(after);
        while (after[0] == before[0] || after[0] == before[1] || after[1] == before[0] ||
               after[1] == before[1]);
        expect_it_works(0);
        expect_it_works(1);
    }
    cr_expect_eq(sandbox_deaths(sandbox), 10);
}

Test(sandbox, a_helper_that_does_not_answer_is_replaced)
{
    pid_t helpers[2];
    find_helpers(helpers);
    cr_assert_eq(kill(helpers[0], SIGSTOP), 0);
    cr_assert_eq(kill(helpers[1], SIGSTOP), 0);
    struct blob file = blob_golden("baseline-420.jpg");
    struct pixels_result result;
    const uint8_t *rgb;
    order.limits.max_cpu_ms = 20;
    cr_expect_eq(run(0, &file, &result, &rgb), SANDBOX_STARVED);
    cr_expect_eq(run(1, &file, &result, &rgb), SANDBOX_STARVED);
    order.limits = rn_image_limits_default;
    expect_it_works(0);
    expect_it_works(1);
    blob_done(&file);
}

Test(sandbox, a_killed_zygote_is_replaced)
{
    for (int round = 0; round < 3; round++) {
        const pid_t zygote = find_zygote();
        pid_t helpers[2];
        find_helpers(helpers);
        cr_assert_eq(kill(zygote, SIGKILL), 0);
        await_ends(helpers); /* they die with it */
        expect_it_works(1);
        expect_it_works(0);
        cr_expect_neq(find_zygote(), zygote);
    }
}

/* What the daemon does at SIGCHLD. */
Test(sandbox, a_zygote_that_dies_while_nothing_is_decoded_is_replaced)
{
    const pid_t zygote = find_zygote();
    siginfo_t info;
    sandbox_tend(sandbox);
    cr_assert_eq(find_zygote(), zygote, "it was alive");
    sleep(2); /* one that dies sooner than after a second waits for a decode */
    cr_assert_eq(kill(zygote, SIGKILL), 0);
    cr_assert_eq(waitid(P_PID, (id_t)zygote, &info, WEXITED | WNOWAIT), 0);
    sandbox_tend(sandbox);
    cr_expect_neq(find_zygote(), zygote);
    pid_t helpers[2];
    find_helpers(helpers);
    expect_it_works(0);
    expect_it_works(1);
}

/* ---- what a helper may do ----------------------------------------------------------------------
 */

static void use_memory(void)
{
    uint8_t *p = malloc(16 << 20);
    memset(p, 1, 16 << 20);
    free(p);
}

static void open_file(void)
{
    (void)open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static void open_socket(void)
{
    (void)socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void run_program(void)
{
    (void)execl("/bin/true", "true", NULL);
}

static void fork_itself(void)
{
    (void)fork();
}

static void map_code(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void kill_parent(void)
{
    (void)kill(getppid(), 0);
}

/* The wait status of a process that confines itself, and does this. */
static int confined(void (*act)(void), bool *filtered)
{
    int ends[2], status;
    char report = 0;
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        report = sandbox_confine(64 << 20) ? 'y' : 'n';
        if (write(ends[1], &report, 1) == 1)
            act();
        _exit(0);
    }
    cr_assert_eq(read(ends[0], &report, 1), 1);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    (void)close(ends[0]);
    (void)close(ends[1]);
    *filtered = report == 'y';
    return status;
}

Test(confinement, ends_who_asks_for_more_than_memory)
{
    static const struct {
        const char *what;
        void (*act)(void);
    } acts[] = {{"open", open_file},   {"socket", open_socket}, {"execve", run_program},
                {"fork", fork_itself}, {"mmap", map_code},      {"kill", kill_parent}};
    bool filtered;
    int status = confined(use_memory, &filtered);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (size_t i = 0; filtered && i < sizeof acts / sizeof *acts; i++) {
        status = confined(acts[i].act, &filtered);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status %x", acts[i].what,
                  status);
    }
#if !defined SANITIZED && (defined __x86_64__ || defined __aarch64__)
    cr_expect(filtered);
#endif
}

/* ---- what a helper says ------------------------------------------------------------------------
 */

static bool is_taken(struct pixels_result result)
{
    const struct pixels_order asked = {.limits = rn_image_limits_default};
    return sandbox_check_result(&asked, 1000, 50, &result);
}

Test(check, takes_no_answer_that_an_honest_helper_could_not_give)
{
    const struct pixels_result honest = {.verdict = PIXELS_MADE,
                                         .info = {RN_FORMAT_PNG, 10, 20, 1, 1000},
                                         .has_info = true,
                                         .start_ns = 10,
                                         .decode_end_ns = 20,
                                         .crop_end_ns = 30};
    cr_expect(is_taken(honest));
    struct pixels_result wrong = honest;
    wrong.verdict = (enum pixels_verdict)77;
    cr_expect_not(is_taken(wrong));
    wrong = honest;
    wrong.info.format = (enum rn_image_format)2;
    cr_expect_not(is_taken(wrong));
    wrong.info.format = (enum rn_image_format) - 1;
    cr_expect_not(is_taken(wrong));
    wrong = honest;
    wrong.info.width = 0;
    cr_expect_not(is_taken(wrong));
    wrong.info.width = 16385;
    cr_expect_not(is_taken(wrong));
    wrong = honest;
    wrong.info.exif_orientation = 9;
    cr_expect_not(is_taken(wrong));
    wrong = honest;
    wrong.crop_end_ns = 51; /* after now */
    cr_expect_not(is_taken(wrong));
    wrong.crop_end_ns = 19;
    cr_expect_not(is_taken(wrong));
    wrong = (struct pixels_result){.verdict = PIXELS_REFUSED, .status = RN_OK};
    cr_expect_not(is_taken(wrong));
    wrong.status = RN_N_STATUSES;
    cr_expect_not(is_taken(wrong));
    wrong.status = RN_IMAGE_CORRUPT;
    cr_expect(is_taken(wrong));
    wrong = (struct pixels_result){.verdict = PIXELS_UNMEETABLE, .predicted_ns = UINT64_MAX};
    cr_expect_not(is_taken(wrong));
}
