/* The settings as text: --help's list, the JSON that config_load reads, one value. Pure.
 *
 * SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <string.h>

#include "config/option.h"

#define HELP_COLUMN 34 /* where the sentences begin */
#define HELP_WIDTH 100

/* ---- --help -----------------------------------------------------------------------------------
 */

/* 10485760 as "10M" where nothing is lost. */
static void print_size(char *out, size_t n, long long bytes)
{
    static const char suffixes[] = "KMG";
    int i = -1;
    while (i + 1 < (int)strlen(suffixes) && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    snprintf(out, n, "%lld%.1s", bytes, i < 0 ? "" : suffixes + i);
}

/* " (10M)", or nothing where the default is to have nothing. */
static void print_default(char *out, size_t n, const struct option *option)
{
    char value[64] = "";
    if (option->type == OPTION_SIZE)
        print_size(value, sizeof(value), option->number);
    else if (option->type == OPTION_INT)
        snprintf(value, sizeof(value), "%lld", option->number);
    else
        snprintf(value, sizeof(value), "%s", option->text);
    snprintf(out, n, value[0] ? " (%s)" : "%s", value);
}

/* The words of text from HELP_COLUMN on, `column` being where the line stands already. */
static void print_wrapped(FILE *out, int column, const char *text)
{
    fprintf(out, "%*s", HELP_COLUMN - column, "");
    column = HELP_COLUMN;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column + 1 + word > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += fprintf(out, "%s%.*s", column > HELP_COLUMN ? " " : "", word, text);
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void config_print_help(FILE *out)
{
    static const char *const arguments[] = {
        [OPTION_INT] = "N", [OPTION_SIZE] = "SIZE", [OPTION_TEXT] = "TEXT", [OPTION_LIST] = "TEXT"};
    int column = fprintf(out, "  --config FILE");
    print_wrapped(out, column, "JSON file with settings, keys as below with _ for -");
    for (size_t i = 0; i < n_options; i++) {
        const struct option *option = &options[i];
        column = fprintf(out, "  --");
        for (const char *p = option->key; *p; p++, column++)
            fputc(*p == '_' ? '-' : *p, out);
        column += fprintf(out, " %s", arguments[option->type]);
        char text[512], standard[80];
        print_default(standard, sizeof(standard), option);
        snprintf(text, sizeof(text), "%s%s%s", option->help, standard,
                 option->reloadable ? "" : " [restart]");
        print_wrapped(out, column, text);
    }
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p < 0x20)
            fprintf(out, "\\u%04x", *p);
        else
            fputc(*p, out);
    }
    fputc('"', out);
}

static void print_value(FILE *out, const struct option *option, const struct config *config)
{
    if (option->type == OPTION_TEXT) {
        print_string(out, option_text(option, config));
    } else if (option->type == OPTION_LIST) {
        const struct config_list *list = option_list(option, config);
        fputc('[', out);
        for (int i = 0; i < list->n; i++) {
            fputs(i > 0 ? ", " : "", out);
            print_string(out, list->items[i]);
        }
        fputc(']', out);
    } else {
        fprintf(out, "%lld", option_number(option, config));
    }
}

void config_print_json(const struct config *config, FILE *out)
{
    fputs("{\n", out);
    for (size_t i = 0; i < n_options; i++) {
        fprintf(out, "    \"%s\": ", options[i].key);
        print_value(out, &options[i], config);
        fputs(i + 1 < n_options ? ",\n" : "\n", out);
    }
    fputs("}\n", out);
}

/* ---- one value --------------------------------------------------------------------------------
 */

const char *config_value(const struct config *config, const char *key, char *buf, size_t n)
{
    const struct option *option = option_find(key);
    if (!option)
        return NULL;
    if (option->type == OPTION_TEXT) {
        snprintf(buf, n, "%s", option_text(option, config));
    } else if (option->type == OPTION_LIST) {
        const struct config_list *list = option_list(option, config);
        size_t used = 0;
        snprintf(buf, n, "%s", "");
        for (int i = 0; i < list->n && used < n; i++)
            used +=
                (size_t)snprintf(buf + used, n - used, "%s%s", i > 0 ? "," : "", list->items[i]);
    } else {
        snprintf(buf, n, "%lld", option_number(option, config));
    }
    return buf;
}
