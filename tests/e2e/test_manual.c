/* The manual page, as it is installed, against the program: every command, every option with its
 * text, and no other; and mandoc has nothing to say about it.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/support_server.h"

#define PAGE "docs/resnetd.1"

static char folder[] = "/tmp/resnetd-test-XXXXXX", made[64];

static void setup(void)
{
    char command[512];
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(made, sizeof made, "%s/resnetd.1", folder);
    (void)snprintf(command, sizeof command, "docs/manual.sh %s " PAGE " > %s",
                   getenv("RESNETD_BINARY"), made);
    cr_assert_eq(system(command), 0);
}

static void teardown(void)
{
    (void)unlink(made);
    (void)rmdir(folder);
}

TestSuite(e2e_manual, .timeout = 60, .init = setup, .fini = teardown);

/* The page in one line: no escapes in front of a line, single spaces. */
static char *flattened(void)
{
    size_t n, used = 0;
    char *page = read_file(made, &n), *out = calloc(n + 1, 1);
    cr_assert_not_null(out);
    for (const char *at = page; *at; at++) {
        const bool begins = at == page || at[-1] == '\n';
        if (begins && strncmp(at, "\\&", 2) == 0)
            at++;
        else if (strncmp(at, "\\e", 2) == 0)
            out[used++] = *at++;
        else
            out[used++] = isspace((unsigned char)*at) ? ' ' : *at;
    }
    free(page);
    return out;
}

/* Adds the words of a text, one space before each. */
static void add_words(char *out, size_t n, const char *text, size_t n_text)
{
    size_t used = strlen(out);
    for (size_t i = 0; i < n_text && used + 2 < n; i++) {
        if (isspace((unsigned char)text[i]))
            continue;
        if (i == 0 || isspace((unsigned char)text[i - 1]))
            out[used++] = ' ';
        out[used++] = text[i];
    }
    out[used] = '\0';
}

/* "  --key VALUE   text" as the page has it. */
static void begin_item(char *out, size_t n, const char *line, size_t n_line)
{
    const char *end = line + n_line, *key = line + 4;
    const size_t n_key = strcspn(key, " \n");
    const char *value = key + n_key + 1;
    size_t n_value = value < end ? strcspn(value, " \n") : 0;
    for (size_t i = 0; i < n_value; i++)
        if (islower((unsigned char)value[i]))
            n_value = 0;
    if (n_value > 0)
        (void)snprintf(out, n, ".It Fl Fl %.*s Ar %.*s", (int)n_key, key, (int)n_value, value);
    else
        (void)snprintf(out, n, ".It Fl Fl %.*s", (int)n_key, key);
    const char *text = key + n_key + (n_value > 0 ? 1 + n_value : 0);
    if (text < end)
        add_words(out, n, text, (size_t)(end - text));
}

/* How many options a command's --help has; each must be in the page. */
static int check_options(const char *page, const char *command)
{
    struct program program;
    char args[64], item[1024] = "";
    int n_items = 0;
    (void)snprintf(args, sizeof args, "%s --help", command);
    cr_assert_eq(program_run(&program, args), 0);
    for (const char *line = program.stdout_text;; line += strcspn(line, "\n") + 1) {
        const size_t n_line = strcspn(line, "\n");
        const bool continues = item[0] && strncmp(line, "    ", 4) == 0;
        if (continues) {
            add_words(item, sizeof item, line, n_line);
        } else if (item[0]) {
            cr_expect(strstr(page, item), "the manual lacks: %s", item);
            n_items++;
            item[0] = '\0';
        }
        if (strncmp(line, "  --", 4) == 0)
            begin_item(item, sizeof item, line, n_line);
        if (!line[n_line])
            break;
    }
    program_done(&program);
    return n_items;
}

Test(e2e_manual, has_every_command_and_option_and_no_other)
{
    struct program program;
    char *page = flattened();
    int n_items = 0, n_commands = 0;
    cr_assert_eq(program_run(&program, "--help"), 0);
    for (char *line = program.stdout_text; *line; line += strcspn(line, "\n") + 1) {
        char command[32], heading[64];
        if (sscanf(line, "  %31[a-z-] %*s", command) != 1 || line[0] != ' ')
            continue;
        (void)snprintf(heading, sizeof heading, ".Ss %s ", command);
        cr_expect(strstr(page, heading), "%s has no section about %s", PAGE, command);
        n_items += check_options(page, command);
        n_commands++;
    }
    program_done(&program);
    cr_assert_geq(n_commands, 6);
    cr_assert_geq(n_items, 40);
    int n_described = 0;
    for (const char *at = page; (at = strstr(at, ".It Fl Fl ")); at++)
        n_described++;
    cr_expect_eq(n_described, n_items, "the manual describes %d options, there are %d", n_described,
                 n_items);
    free(page);
}

/* Whether this machine has the pages that ours points to is not its fault. */
Test(e2e_manual, pleases_mandoc)
{
    char command[256];
    (void)snprintf(command, sizeof command,
                   "mandoc -Tlint -Wall %s 2>&1 | grep -v 'outdated mandoc.db' >&2", made);
    cr_assert_eq(system("command -v mandoc >/dev/null"), 0, "mandoc is not installed");
    cr_expect_neq(system(command), 0, "mandoc complains, see above");
}
