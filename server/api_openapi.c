/* Embeds openapi.json with the assembler's .incbin and answers a copy.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_openapi.h"

#include <stdlib.h>
#include <string.h>

#include "server/http.h"

__asm__(".section .rodata\n"
        ".global api_openapi_bytes\n"
        ".global api_openapi_end\n"
        "api_openapi_bytes:\n"
        ".incbin \"server/openapi.json\"\n"
        "api_openapi_end:\n"
        ".previous\n");

extern const char api_openapi_bytes[], api_openapi_end[];

void api_openapi(const struct api *api, struct http_exchange *exchange)
{
    (void)api;
    const size_t n = (size_t)(api_openapi_end - api_openapi_bytes);
    char *copy = malloc(n);
    if (!copy) {
        struct problem problem;
        problem_set(&problem, PROBLEM_INTERNAL, "out of memory");
        http_reply_problem(exchange, &problem);
        return;
    }
    memcpy(copy, api_openapi_bytes, n);
    http_reply(exchange, 200, "application/json", copy, n);
}
