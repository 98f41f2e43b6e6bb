/* A picture is one text; a file is written at once or not believed.
 *
 * SPDX-License-Identifier: MIT */
#include "server/svg.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/text.h"

void svg_text(struct text *out, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '<':
            text_add(out, "&lt;");
            break;
        case '>':
            text_add(out, "&gt;");
            break;
        case '&':
            text_add(out, "&amp;");
            break;
        default:
            if ((unsigned char)*s >= 0x20)
                text_format(out, "%c", *s);
        }
}

bool svg_save(struct text *text, const char *path)
{
    size_t n;
    char *svg = text_take(text, &n);
    FILE *file = svg ? fopen(path, "we") : NULL;
    bool ok = file && fwrite(svg, 1, n, file) == n;
    if (file)
        ok = fclose(file) == 0 && ok;
    free(svg);
    return ok;
}
