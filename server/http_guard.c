/* The rules of RFC 9110 and RFC 9112 that libmicrohttpd 0.9.75 does not enforce and that keep two
 * parsers from reading one stream in two ways (request smuggling). Pure.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>

#include "server/http_internal.h"

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 9110 section 5.6.2. */
static bool is_token(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        const bool alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return n > 0;
}

static bool has_control(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return true;
    return false;
}

/* host [":" port], RFC 3986 section 3.2 without user information; no comma, which joins two hosts.
 */
static bool is_authority(const char *text, size_t n)
{
    size_t i = 0;
    if (n > 0 && text[0] == '[') {
        for (i = 1; i < n && (is_hex(text[i]) || text[i] == ':' || text[i] == '.'); i++)
            continue;
        if (i < 3 || i == n || text[i++] != ']')
            return false;
    } else {
        while (i < n && text[i] != ':') {
            if (!is_token(text + i, 1) && !strchr("();=", text[i]))
                return false;
            if (strchr("#^`|", text[i]))
                return false;
            i++;
        }
        if (i == 0)
            return false;
    }
    if (i < n && text[i++] != ':')
        return false;
    for (; i < n; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

size_t http_guard_value(const char *text, size_t n)
{
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    return n;
}

bool http_guard_target(const char *target)
{
    if (target && strcmp(target, "*") == 0)
        return true;
    if (!target || target[0] != '/')
        return false;
    for (const char *c = target; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f || *c == '#')
            return false;
        if (*c == '%' && (!is_hex(c[1]) || !is_hex(c[2]) || (c[1] == '0' && c[2] == '0')))
            return false;
    }
    return true;
}

bool http_guard_asterisk(const char *method, const char *path)
{
    return path[0] != '*' || strcmp(method, "OPTIONS") == 0;
}

void http_guard_start(struct http_guard *guard, const char *method, const char *target,
                      const char *target_end, const char *version)
{
    if (target != method + strlen(method) + 1 || version != target_end + 1)
        guard->fault = "the request line has a NUL or more than its two spaces";
    guard->at = version + strlen(version) + 2;
}

void http_guard_end(struct http_guard *guard, const char *end)
{
    if (!guard->fault && guard->at + 2 != end)
        guard->fault = "the header has a NUL, a line without a name, or one that is not ended by "
                       "CR LF";
}

void http_guard_header(struct http_guard *guard, const char *name, size_t n_name, const char *value,
                       size_t n_value)
{
    if (guard->fault)
        return;
    if (guard->at && name != guard->at) {
        guard->fault = "a header line is folded, has a NUL, or is not ended by CR LF";
        return;
    }
    if (guard->at)
        guard->at = value + n_value + 2;
    if (!is_token(name, n_name)) {
        guard->fault = "a header's name is empty or has a character that names cannot have";
    } else if (has_control(value, n_value)) {
        guard->fault = "a header's value has a control character";
    } else if (strcasecmp(name, "Content-Length") == 0) {
        if (guard->n_lengths++ > 0)
            guard->fault = "Content-Length stands twice";
        else if (n_value == 0 || strspn(value, "0123456789") != n_value)
            guard->fault = "Content-Length is not a number";
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        guard->chunked = n_value == strlen("chunked") && strcasecmp(value, "chunked") == 0;
        if (guard->n_encodings++ > 0)
            guard->fault = "Transfer-Encoding stands twice";
        else if (!guard->chunked)
            guard->fault = "the only Transfer-Encoding understood is chunked";
    } else if (strcasecmp(name, "Host") == 0) {
        if (guard->n_hosts++ > 0)
            guard->fault = "Host stands twice";
        else if (!is_authority(value, http_guard_value(value, n_value)))
            guard->fault = "Host is not a host name or address with an optional port";
    }
}

const char *http_guard_verdict(const struct http_guard *guard, const char *version)
{
    const bool is_1_1 = strcmp(version, "HTTP/1.1") == 0;
    if (!is_1_1 && strcmp(version, "HTTP/1.0") != 0)
        return "the version is not HTTP/1.0 or HTTP/1.1";
    if (guard->fault)
        return guard->fault;
    if (is_1_1 && guard->n_hosts == 0)
        return "HTTP/1.1 needs a Host header";
    if (guard->n_encodings > 0 && guard->n_lengths > 0)
        return "Content-Length and Transfer-Encoding exclude each other";
    if (guard->n_encodings > 0 && !is_1_1)
        return "HTTP/1.0 knows no Transfer-Encoding";
    return NULL;
}
