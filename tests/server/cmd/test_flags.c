/* Command lines read by a table of flags.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/flags.h"

#include <criterion/criterion.h>
#include <string.h>

static bool on;
static const char *path;
static int number;
static struct flag_ints list;
static double real;
static char *words[16];
static int n_words;
static struct flags_error err;

static const struct flag table[] = {
    {.name = "json", .type = FLAG_SWITCH, .out = &on, .value = "", .help = "h"},
    {.name = "model", .type = FLAG_TEXT, .out = &path, .value = "PATH", .help = "h"},
    {.name = "top-k",
     .type = FLAG_INT,
     .out = &number,
     .min = 1,
     .max = 9,
     .value = "K",
     .help = ""},
    {.name = "batch",
     .type = FLAG_INTS,
     .out = &list,
     .min = 1,
     .max = 256,
     .value = "N",
     .help = ""},
    {.name = "seconds",
     .type = FLAG_REAL,
     .out = &real,
     .min = 0,
     .max = 10,
     .value = "S",
     .help = ""},
};

static bool parse(const char *line)
{
    static char text[256];
    n_words = 0;
    (void)snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        words[n_words++] = word;
    return flags_parse(table, sizeof table / sizeof *table, &n_words, words, &err);
}

Test(flags, take_values_in_both_spellings_and_leave_the_other_words)
{
    cr_assert(parse("a --json --model m.safetensors b --top-k=3 --batch 1,2,8 --seconds=0.5 -"),
              "%s", err.text);
    cr_assert(on);
    cr_assert_str_eq(path, "m.safetensors");
    cr_assert_eq(number, 3);
    cr_assert(list.n == 3 && list.values[0] == 1 && list.values[1] == 2 && list.values[2] == 8);
    cr_assert_eq(real, 0.5);
    cr_assert_eq(n_words, 3);
    cr_assert_str_eq(words[0], "a");
    cr_assert_str_eq(words[1], "b");
    cr_assert_str_eq(words[2], "-");
}

Test(flags, two_dashes_end_them)
{
    cr_assert(parse("--json -- --model -x"));
    cr_assert_eq(n_words, 2);
    cr_assert_str_eq(words[0], "--model");
    cr_assert_str_eq(words[1], "-x");
}

Test(flags, say_what_is_wrong)
{
    static const char *const wrong[][2] = {
        {"--modle x", "did you mean --model?"},
        {"-j", "two dashes"},
        {"--model", "wants a value"},
        {"--json=1", "takes no value"},
        {"--top-k 0", "1…9"},
        {"--top-k 3x", "\"3x\""},
        {"--top-k 99999999999999999999", "1…9"},
        {"--batch 1,,2", "--batch"},
        {"--batch 1,300", "1…256"},
        {"--batch", "wants a value"},
        {"--seconds nan", "0…10"},
        {"--batch 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "at most 16"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_not(parse(wrong[i][0]), "%s", wrong[i][0]);
        cr_assert(strstr(err.text, wrong[i][1]), "%s: %s", wrong[i][0], err.text);
    }
}
