/* "Did you mean …?": the known name that a mistyped one most likely stood for. Pure.
 *
 * SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <string.h>

#define MAX_WORD 48 /* longer words are near to nothing */
#define SURE 2      /* edits, up to which the nearest is the one */

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance with neighbours swapped counted as one edit; both within MAX_WORD. */
static size_t distance(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);
    size_t rows[3][MAX_WORD + 1]; /* the row before last, the last, the present one */
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= n_b; j++)
        last[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        size_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[n_b];
}

/* "model_path" begins with the word "model". */
static bool begins_with(const char *word, const char *name)
{
    const size_t n = strlen(name);
    return strncmp(word, name, n) == 0 && (word[n] == '_' || word[n] == '-');
}

const char *config_nearest(const char *word, const char *const *names, size_t n)
{
    size_t length = strlen(word);
    if (length == 0 || length > MAX_WORD)
        return NULL;
    const char *best = NULL;
    size_t least = length < 6 ? 3 : 2 + length / 3; /* one more than is still near */
    for (size_t i = 0; i < n; i++) {
        size_t edits = strlen(names[i]) > MAX_WORD ? least : distance(word, names[i]);
        if (edits < least && edits < length) {
            least = edits;
            best = names[i];
        }
    }
    for (size_t i = 0; i < n && least > SURE; i++)
        if (begins_with(word, names[i]))
            return names[i]; /* model, not model_dir */
    if (best || length < 3)
        return best;

    /* "batch" for max_batch, "model_path" for model: the one with the least around it. */
    size_t rest = MAX_WORD;
    for (size_t i = 0; i < n; i++) {
        size_t other = strlen(names[i]);
        size_t around = other > length ? other - length : length - other;
        if (around < rest && (strstr(names[i], word) || strstr(word, names[i]))) {
            rest = around;
            best = names[i];
        }
    }
    return best;
}
