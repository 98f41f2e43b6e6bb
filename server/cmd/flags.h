/* The flags of the commands that serve nothing: a table per command, one reader.
 *
 * A flag is written --key value or --key=value; "--" ends them. What is no flag stays in argv, in
 * order, "-" included. A wrong flag is a sentence that names it and the nearest right one.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_FLAGS_H
#define RESNETD_SERVER_CMD_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define FLAGS_MAX_INTS 16

enum flag_type {
    FLAG_SWITCH, /* bool; takes no value */
    FLAG_TEXT,   /* const char *, borrowed from argv */
    FLAG_INT,    /* int */
    FLAG_INTS,   /* struct flag_ints: 1,2,4 */
    FLAG_REAL,   /* double */
};

struct flag_ints {
    int values[FLAGS_MAX_INTS];
    int n;
};

struct flag {
    const char *name; /* without the dashes */
    enum flag_type type;
    void *out;
    double min, max;          /* of numbers */
    const char *value, *help; /* "PATH", what it does; value "" for a switch */
};

struct flags_error {
    char text[256];
};

/* Sets what the flags point to and leaves the other *argc words in argv. */
bool flags_parse(const struct flag *flags, size_t n, int *argc, char **argv,
                 struct flags_error *err) __attribute__((warn_unused_result));

/* The list for --help. */
void flags_print_help(const struct flag *flags, size_t n, FILE *out);

#endif
