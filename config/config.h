/* The settings: defaults -> JSON file -> RESNETD_* environment -> flags, one row each in
 * options.def.
 *
 * Read by server/cmd/ only; everyone else receives plain values. A key is written max_body_bytes
 * in the file, --max-body-bytes on the command line, RESNETD_MAX_BODY_BYTES in the environment.
 * Pure but for reading the one file; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_CONFIG_CONFIG_H
#define RESNETD_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CONFIG_MAX_MODELS 16

struct config_list {
    char *items[CONFIG_MAX_MODELS];
    int n;
};

/* One field per row. SIZE takes K, M and G (powers of 1024) where it is written as text; a LIST is
 * an array in the file, comma-separated in the environment, a repeated flag on the command line.
 * A source that names a list replaces it whole. */
struct config {
#define OPTION_INT(key) int key;
#define OPTION_SIZE(key) size_t key;
#define OPTION_TEXT(key) char *key;
#define OPTION_LIST(key) struct config_list key;
#define OPTION(key, type, def, min, max, reloadable, help) OPTION_##type(key)
#include "config/options.def"
#undef OPTION
#undef OPTION_INT
#undef OPTION_SIZE
#undef OPTION_TEXT
#undef OPTION_LIST
};

struct config_error {
    char text[512]; /* one sentence that names the key, where it stood, and the nearest right one */
};

/* Fills *out from all four sources. argv is what follows the subcommand: --key=value, --key value,
 * and --config FILE (RESNETD_CONFIG names the file otherwise); a bare word is an error. envp as in
 * main; unknown RESNETD_* names are reported to `warn` (one call each, may be NULL) and ignored.
 * False with err (may be NULL) set on failure, *out then untouched; end with config_done(). */
bool config_load(struct config *out, int argc, char *const *argv, char *const *envp,
                 void (*warn)(const char *sentence), struct config_error *err)
    __attribute__((warn_unused_result));
/* Takes over what differs in `next` and may change while the daemon runs; `next` gets the old
 * values (config_done() it). `warn` hears of each setting that needs a restart. */
void config_adopt(struct config *config, struct config *next, void (*warn)(const char *sentence));
/* Frees the texts; a zeroed or NULL config is fine. */
void config_done(struct config *config);

/* `--help`'s option list: flag, default, help, wrapped to 100 columns. */
void config_print_help(FILE *out);
/* Present values as the JSON that config_load reads. */
void config_print_json(const struct config *config, FILE *out);
/* The present value of one key as text in buf; NULL if there is no such key. */
const char *config_value(const struct config *config, const char *key, char *buf, size_t n);

/* The entry of names[n] that `word` most likely meant: by edit distance, else one that contains
 * the word or is contained in it; NULL when none is near. */
const char *config_nearest(const char *word, const char *const *names, size_t n);

#endif
