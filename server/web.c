/* The files of server/web/, embedded with the assembler's .incbin, as they are: nothing builds
 * them.
 *
 * Loop thread; the entity tags are computed at the first request. The page may load only what
 * stands in the table and call only this server: the policy below says so to the browser, which
 * also refuses to make HTML out of strings (Trusted Types). Browsers ask again each time (no-cache)
 * and get 304, so that a new version of the daemon is seen at once.
 *
 * SPDX-License-Identifier: MIT */
#include "server/web.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/sha2.h>

#include "server/api_admin.h"
#include "server/api_reply.h"
#include "server/http.h"

#define TAG_BYTES 12 /* of the SHA-256 */

/* FILE(id, name, media type); the page itself comes first. */
#define FILES(FILE)                                                                                \
    FILE(index, "index.html", "text/html; charset=utf-8")                                          \
    FILE(style, "style.css", "text/css; charset=utf-8")                                            \
    FILE(icon, "icon.svg", "image/svg+xml")                                                        \
    FILE(app, "app.js", "text/javascript; charset=utf-8")                                          \
    FILE(server, "server.js", "text/javascript; charset=utf-8")                                    \
    FILE(dom, "dom.js", "text/javascript; charset=utf-8")                                          \
    FILE(photo, "photo.js", "text/javascript; charset=utf-8")                                      \
    FILE(picture, "picture.js", "text/javascript; charset=utf-8")                                  \
    FILE(classify, "classify.js", "text/javascript; charset=utf-8")                                \
    FILE(answer, "answer.js", "text/javascript; charset=utf-8")                                    \
    FILE(network, "network.js", "text/javascript; charset=utf-8")                                  \
    FILE(graph, "graph.js", "text/javascript; charset=utf-8")                                      \
    FILE(layer, "layer.js", "text/javascript; charset=utf-8")                                      \
    FILE(live, "live.js", "text/javascript; charset=utf-8")                                        \
    FILE(metrics, "metrics.js", "text/javascript; charset=utf-8")                                  \
    FILE(chart, "chart.js", "text/javascript; charset=utf-8")

#define EMBED(id, name, type)                                                                      \
    __asm__(".section .rodata\n"                                                                   \
            ".global web_" #id "_start\n"                                                          \
            ".global web_" #id "_end\n"                                                            \
            "web_" #id "_start:\n"                                                                 \
            ".incbin \"server/web/" name "\"\n"                                                    \
            "web_" #id "_end:\n"                                                                   \
            ".previous\n");                                                                        \
    extern const char web_##id##_start[], web_##id##_end[];
FILES(EMBED)

static struct file {
    const char *name, *type, *start, *end;
    char tag[2 * TAG_BYTES + 3]; /* with its quotes */
} files[] = {
#define ROW(id, name, type) {name, type, web_##id##_start, web_##id##_end, ""},
    FILES(ROW)};

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

static const char *entity_tag(struct file *file)
{
    if (file->tag[0])
        return file->tag;
    struct sha256_ctx hash;
    uint8_t digest[TAG_BYTES];
    sha256_init(&hash);
    sha256_update(&hash, (size_t)(file->end - file->start), (const uint8_t *)file->start);
    sha256_digest(&hash, sizeof digest, digest);
    size_t n = 0;
    file->tag[n++] = '"';
    for (size_t i = 0; i < sizeof digest; i++)
        n += (size_t)snprintf(file->tag + n, sizeof file->tag - n, "%02x", digest[i]);
    file->tag[n] = '"';
    return file->tag;
}

/* A list of tags, weak or not, or "*"; a quoted tag of ours occurs in it only as an element. */
static bool has_already(const struct http_exchange *exchange, const char *tag)
{
    const char *given = http_header(exchange, "If-None-Match");
    return given && (strstr(given, tag) || strcmp(given, "*") == 0);
}

static void reply_file(struct http_exchange *exchange, struct file *file)
{
    const char *tag = entity_tag(file);
    const size_t n = (size_t)(file->end - file->start);
    http_reply_header(exchange, "ETag", tag);
    http_reply_header(exchange, "Content-Security-Policy", policy);
    http_reply_header(exchange, "X-Content-Type-Options", "nosniff");
    http_reply_header(exchange, "Referrer-Policy", "no-referrer");
    http_reply_header(exchange, "Cross-Origin-Opener-Policy", "same-origin");
    if (has_already(exchange, tag)) {
        http_reply_header(exchange, "Cache-Control", "no-cache");
        http_reply(exchange, 304, NULL, NULL, 0);
        return;
    }
    char *body = malloc(n);
    if (body) {
        memcpy(body, file->start, n);
        http_reply_header(exchange, "Cache-Control", "no-cache");
        http_reply(exchange, 200, file->type, body, n);
        return;
    }
    struct problem problem;
    problem_set(&problem, PROBLEM_INTERNAL, "out of memory");
    http_reply_problem(exchange, &problem);
}

void web_index(const struct api *api, struct http_exchange *exchange)
{
    const char *accept = http_header(exchange, "Accept");
    http_reply_header(exchange, "Vary", "Accept");
    if (accept && strcasestr(accept, "text/html"))
        reply_file(exchange, &files[0]);
    else
        api_admin_index(api, exchange);
}

void web_file(const struct api *api, struct http_exchange *exchange)
{
    (void)api;
    const char *name = exchange->path + strlen("/web/");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strcmp(files[i].name, name) == 0) {
            reply_file(exchange, &files[i]);
            return;
        }
    struct problem problem;
    problem_set(&problem, PROBLEM_NOT_FOUND, "the page has no file \"%.64s\"", name);
    http_reply_problem(exchange, &problem);
}
