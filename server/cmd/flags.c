/* Reads a command line by a table of flags. Pure but for its output.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/flags.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#define MAX_FLAGS 16

__attribute__((format(printf, 2, 3))) static bool fail(struct flags_error *err, const char *format,
                                                       ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return false;
}

static bool unknown(const struct flag *flags, size_t n, const char *word, struct flags_error *err)
{
    const char *names[MAX_FLAGS];
    for (size_t i = 0; i < n; i++)
        names[i] = flags[i].name;
    const char *nearest = config_nearest(word, names, n);
    if (nearest)
        return fail(err, "there is no flag --%s; did you mean --%s?", word, nearest);
    return fail(err, "there is no flag --%s", word);
}

/* A number up to `stop`, within the flag's bounds. */
static bool read_number(const struct flag *flag, const char *text, char stop, double *out,
                        const char **end, struct flags_error *err)
{
    bool whole = flag->type != FLAG_REAL;
    char *after = NULL;
    double number = whole ? (double)strtol(text, &after, 10) : strtod(text, &after);
    if (after == text || (*after && *after != stop) ||
        !(number >= flag->min && number <= flag->max))
        return fail(err, "--%s: \"%s\" is not a %snumber in %g…%g", flag->name, text,
                    whole ? "whole " : "", flag->min, flag->max);
    *out = number;
    *end = after;
    return true;
}

static bool read_ints(const struct flag *flag, const char *text, struct flags_error *err)
{
    struct flag_ints *ints = flag->out;
    double number;
    for (ints->n = 0; ints->n < FLAGS_MAX_INTS; text++) {
        if (!read_number(flag, text, ',', &number, &text, err))
            return false;
        ints->values[ints->n++] = (int)number;
        if (!*text)
            return true;
    }
    return fail(err, "--%s takes at most %d numbers", flag->name, FLAGS_MAX_INTS);
}

static bool read_value(const struct flag *flag, const char *text, struct flags_error *err)
{
    double number;
    const char *end;
    switch (flag->type) {
    case FLAG_TEXT:
        *(const char **)flag->out = text;
        return true;
    case FLAG_INTS:
        return read_ints(flag, text, err);
    case FLAG_INT:
        if (!read_number(flag, text, '\0', &number, &end, err))
            return false;
        *(int *)flag->out = (int)number;
        return true;
    case FLAG_REAL:
        return read_number(flag, text, '\0', flag->out, &end, err);
    default:
        return fail(err, "--%s takes no value", flag->name);
    }
}

bool flags_parse(const struct flag *flags, size_t n, int *argc, char **argv,
                 struct flags_error *err)
{
    int kept = 0, i = 0;
    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (argv[i][0] != '-' || !argv[i][1]) {
            argv[kept++] = argv[i];
            continue;
        }
        if (argv[i][1] != '-')
            return fail(err, "there is no flag %s; flags begin with two dashes", argv[i]);
        const char *word = argv[i] + 2, *equal = strchr(word, '=');
        size_t length = equal ? (size_t)(equal - word) : strlen(word), f = 0;
        while (f < n && (strncmp(flags[f].name, word, length) != 0 || flags[f].name[length]))
            f++;
        if (f == n) {
            char name[64];
            (void)snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), word);
            return unknown(flags, n, name, err);
        }
        if (flags[f].type == FLAG_SWITCH && !equal) {
            *(bool *)flags[f].out = true;
            continue;
        }
        if (!equal && i + 1 == *argc)
            return fail(err, "--%s wants a value", flags[f].name);
        if (!read_value(&flags[f], equal ? equal + 1 : argv[++i], err))
            return false;
    }
    for (i++; i < *argc; i++)
        argv[kept++] = argv[i];
    *argc = kept;
    return true;
}

void flags_print_help(const struct flag *flags, size_t n, FILE *out)
{
    for (size_t i = 0; i < n; i++) {
        char left[48];
        (void)snprintf(left, sizeof left, "--%s %s", flags[i].name, flags[i].value);
        (void)fprintf(out, "  %-20s %s\n", left, flags[i].help);
    }
}
