/* libFuzzer: a target, then "Name: value" lines, to the rules that keep two parsers from reading
 * one request differently.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "server/http_internal.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_guard guard = {0};
    char *text = malloc(n + 1);
    if (!text)
        return 0;
    memcpy(text, data, n);
    text[n] = '\0';
    char *rest = text;
    const char *line = strsep(&rest, "\n");
    if (http_guard_target(line) && line[0] != '/' && line[0] != '*')
        abort();
    (void)http_guard_asterisk("GET", line);
    while (rest) {
        char *value = strsep(&rest, "\n"), *name = strsep(&value, ":");
        http_guard_header(&guard, name, strlen(name), value ? value : "",
                          value ? strlen(value) : 0);
    }
    (void)http_guard_verdict(&guard, "HTTP/1.1");
    free(text);
    return 0;
}
