/* options.def as a table, and how one value gets into a struct config: parsed, in range,
 * well-formed.
 *
 * Shared by the files of config/ and by nobody else. Pure; any thread. Every `where` is the
 * beginning of the error sentence: "--max-batch", "RESNETD_MAX_BATCH", "a.json, line 3: max_batch".
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_CONFIG_OPTION_H
#define RESNETD_CONFIG_OPTION_H

#include "config/config.h"

enum option_type { OPTION_INT, OPTION_SIZE, OPTION_TEXT, OPTION_LIST };

struct option {
    const char *key, *help;
    enum option_type type;
    size_t offset;      /* of the field in struct config */
    const char *text;   /* default of a TEXT */
    long long number;   /* default of a number */
    long long min, max; /* of a number */
    bool reloadable;    /* may change while the daemon runs */
};

/* The rows of options.def in order, and their keys alone (for config_nearest). */
extern const struct option options[];
extern const char *const option_keys[];
extern const size_t n_options;

/* NULL if there is no such key. */
const struct option *option_find(const char *key);

/* The field of a config: option_number is for INT and SIZE, the others for their type only. */
long long option_number(const struct option *option, const struct config *config);
const char *option_text(const struct option *option, const struct config *config);
const struct config_list *option_list(const struct option *option, const struct config *config);

/* Puts a value there; false with err set when it is wrong for the option or memory is out. A text
 * is parsed for numbers, replaces a TEXT, and is appended to a LIST. */
bool option_set_number(const struct option *option, struct config *config, long long value,
                       const char *where, struct config_error *err);
bool option_set_text(const struct option *option, struct config *config, const char *text,
                     const char *where, struct config_error *err);
/* Frees a TEXT, empties a LIST (so that the next source replaces it); numbers stay. */
void option_clear(const struct option *option, struct config *config);

/* Writes the sentence (err may be NULL) and returns false. */
__attribute__((format(printf, 2, 3))) bool option_fail(struct config_error *err, const char *format,
                                                       ...);

#endif
