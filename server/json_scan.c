/* Counts what begins or separates values, outside strings.
 *
 * SPDX-License-Identifier: MIT */
#include "server/json_scan.h"

#include <stdbool.h>

size_t json_scan_values(const uint8_t *bytes, size_t n)
{
    size_t n_values = 1; /* the text itself; every other value comes after one of [ , : */
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (bytes[i] == '\\')
                i++;
            else if (bytes[i] == '"')
                in_string = false;
        } else {
            in_string = bytes[i] == '"';
            n_values += bytes[i] == ',' || bytes[i] == '[' || bytes[i] == ':';
        }
    }
    return n_values;
}
