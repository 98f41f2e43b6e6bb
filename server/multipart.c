/* Walks a form from boundary to boundary and reads each part's few headers.
 *
 * Pure; any thread. Every step is bounded by the body's end and by MULTIPART_MAX_HEADER; a body
 * without its final boundary is refused, since it was cut. Nested forms and transfer encodings
 * do not exist in form-data and are not looked for.
 *
 * SPDX-License-Identifier: MIT */
#include "server/multipart.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A stretch of the body: a line, a header's value. */
struct span {
    const char *at, *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
    while (s.at < s.end && is_blank(*s.at))
        s.at++;
    while (s.end > s.at && is_blank(s.end[-1]))
        s.end--;
    return s;
}

static bool equals(struct span s, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(s.end - s.at) == n && strncasecmp(s.at, word, n) == 0;
}

/* Copies into out[size], cutting where a UTF-8 character begins. */
static void copy(struct span s, char *out, size_t size)
{
    size_t n = (size_t)(s.end - s.at);
    if (n >= size) {
        n = size - 1;
        while (n > 0 && ((unsigned char)s.at[n] & 0xC0) == 0x80)
            n--;
    }
    memcpy(out, s.at, n);
    out[n] = '\0';
}

/* Moves past `; key=value` and gives both: value without its quotes, escapes still in it.
 * False at the end, or where the syntax is broken. */
static bool next_parameter(struct span *rest, struct span *key, struct span *value)
{
    *rest = trim(*rest);
    if (rest->at == rest->end || *rest->at != ';')
        return false;
    rest->at++;
    *rest = trim(*rest);
    const char *equal = memchr(rest->at, '=', (size_t)(rest->end - rest->at));
    if (!equal)
        return false;
    *key = trim((struct span){rest->at, equal});
    rest->at = equal + 1;
    *rest = trim(*rest);
    if (rest->at < rest->end && *rest->at == '"') {
        const char *p = ++rest->at;
        while (p < rest->end && *p != '"')
            p += *p == '\\' && p + 1 < rest->end && (p[1] == '"' || p[1] == '\\') ? 2 : 1;
        if (p == rest->end)
            return false;
        *value = (struct span){rest->at, p};
        rest->at = p + 1;
    } else {
        const char *semicolon = memchr(rest->at, ';', (size_t)(rest->end - rest->at));
        const char *end = semicolon ? semicolon : rest->end;
        *value = trim((struct span){rest->at, end});
        rest->at = end;
    }
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A quoted value as curl and browsers write it: \" and \\, and %22 %0D %0A for what would break the
 * line (HTML, "multipart/form-data encoding algorithm"). Other backslashes stay: old clients send
 * Windows paths. `all`: every %XX, for filename* (RFC 5987). */
static void unescape(char *text, bool all)
{
    char *out = text;
    for (const char *p = text; *p; p++) {
        int high = p[0] == '%' ? hex(p[1]) : -1, low = high >= 0 ? hex(p[2]) : -1;
        int byte = low >= 0 ? high * 16 + low : 0;
        if (byte && (all || byte == '"' || byte == '\r' || byte == '\n')) {
            *out++ = (char)byte;
            p += 2;
        } else if (!all && p[0] == '\\' && (p[1] == '"' || p[1] == '\\')) {
            *out++ = *++p;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
}

/* The text after charset'language' of an extended value. */
static struct span extended_text(struct span value)
{
    for (int quotes = 0; quotes < 2; quotes++) {
        const char *quote = memchr(value.at, '\'', (size_t)(value.end - value.at));
        if (!quote)
            break;
        value.at = quote + 1;
    }
    return value;
}

static bool read_disposition(struct span value, struct multipart_part *part)
{
    const char *semicolon = memchr(value.at, ';', (size_t)(value.end - value.at));
    struct span rest = {semicolon ? semicolon : value.end, value.end}, key, text;
    if (!equals(trim((struct span){value.at, rest.at}), "form-data"))
        return false;
    bool has_name = false;
    while (next_parameter(&rest, &key, &text)) {
        if (equals(key, "name")) {
            copy(text, part->name, sizeof part->name);
            unescape(part->name, false);
            has_name = true;
        } else if (equals(key, "filename*")) {
            copy(extended_text(text), part->filename, sizeof part->filename);
            unescape(part->filename, true);
            part->is_file = true;
        } else if (equals(key, "filename") && !part->filename[0]) {
            copy(text, part->filename, sizeof part->filename);
            unescape(part->filename, false);
            part->is_file = true;
        }
    }
    return has_name && trim(rest).at == rest.end;
}

/* Reads the header lines up to the empty one, which ends at multipart->at afterwards. */
static enum rn_status read_header(struct multipart *multipart, struct multipart_part *part,
                                  struct rn_error *err)
{
    const uint8_t *start = multipart->at;
    bool has_disposition = false;
    for (;;) {
        size_t left = (size_t)(multipart->end - multipart->at);
        const char *line = (const char *)multipart->at, *stop = memmem(line, left, "\r\n", 2);
        if (!stop)
            return rn_fail(err, RN_BAD_ARGUMENT, "the form ends inside of a part's header");
        if (stop - (const char *)start > MULTIPART_MAX_HEADER)
            return rn_fail(err, RN_BAD_ARGUMENT, "a part's header is longer than %d bytes",
                           MULTIPART_MAX_HEADER);
        multipart->at = (const uint8_t *)stop + 2;
        if (stop == line)
            break;
        const char *colon = memchr(line, ':', (size_t)(stop - line));
        if (!colon || memchr(line, '\0', (size_t)(stop - line)))
            return rn_fail(err, RN_BAD_ARGUMENT, "a part's header has a line that is no header");
        struct span key = {line, colon}, value = trim((struct span){colon + 1, stop});
        if (equals(key, "Content-Type")) {
            copy(value, part->type, sizeof part->type);
        } else if (equals(key, "Content-Disposition")) {
            if (has_disposition || !read_disposition(value, part))
                return rn_fail(err, RN_BAD_ARGUMENT,
                               "a part's Content-Disposition is not form-data with a name");
            has_disposition = true;
        }
    }
    if (!has_disposition)
        return rn_fail(err, RN_BAD_ARGUMENT, "a part has no Content-Disposition");
    if (strncasecmp(part->type, "image/", 6) == 0)
        part->is_file = true;
    return RN_OK;
}

/* After a boundary: "--" closes the form, else blanks and a line break lead to a part. */
static enum rn_status end_boundary(struct multipart *multipart, struct rn_error *err)
{
    const uint8_t *p = multipart->at, *end = multipart->end;
    if (end - p >= 2 && p[0] == '-' && p[1] == '-') {
        multipart->closed = true;
        return RN_OK;
    }
    while (p < end && is_blank((char)*p))
        p++;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return rn_fail(err, RN_BAD_ARGUMENT, "a boundary of the form is not followed by a line");
    multipart->at = p + 2;
    return RN_OK;
}

static enum rn_status read_boundary(const char *content_type, char *boundary, size_t size,
                                    struct rn_error *err)
{
    const char *semicolon = strchr(content_type, ';');
    struct span rest = {semicolon ? semicolon : "", content_type + strlen(content_type)};
    if (!semicolon)
        rest.end = rest.at;
    struct span key, value;
    while (next_parameter(&rest, &key, &value)) {
        if (!equals(key, "boundary"))
            continue;
        size_t n = (size_t)(value.end - value.at);
        if (n < 1 || n >= size)
            return rn_fail(err, RN_BAD_ARGUMENT,
                           "the boundary in Content-Type has %zu characters "
                           "instead of 1 to %zu",
                           n, size - 1);
        copy(value, boundary, size);
        return RN_OK;
    }
    return rn_fail(err, RN_BAD_ARGUMENT, "Content-Type has no boundary");
}

enum rn_status multipart_init(struct multipart *multipart, const char *content_type,
                              const uint8_t *body, size_t n, struct rn_error *err)
{
    struct multipart new = {.at = body, .end = body + n, .delimiter = "\r\n--"};
    enum rn_status status =
        read_boundary(content_type, new.delimiter + 4, sizeof new.delimiter - 4, err);
    if (status != RN_OK)
        return status;
    new.n_delimiter = strlen(new.delimiter);

    /* The first boundary may open the body; else a preamble and a line break come before it. */
    const char *dashes = new.delimiter + 2;
    size_t n_dashes = new.n_delimiter - 2;
    const uint8_t *found = NULL;
    if (n >= n_dashes && memcmp(body, dashes, n_dashes) == 0)
        found = body + n_dashes;
    else if (n && (found = memmem(body, n, new.delimiter, new.n_delimiter)))
        found += new.n_delimiter;
    if (!found)
        return rn_fail(err, RN_BAD_ARGUMENT, "the boundary of Content-Type is not in the body");
    new.at = found;
    status = end_boundary(&new, err);
    if (status == RN_OK)
        *multipart = new;
    return status;
}

enum rn_status multipart_next(struct multipart *multipart, struct multipart_part *part, bool *more,
                              struct rn_error *err)
{
    if (multipart->closed) {
        *more = false;
        return RN_OK;
    }
    struct multipart m = *multipart;
    struct multipart_part new = {0};
    enum rn_status status = read_header(&m, &new, err);
    if (status != RN_OK)
        return status;
    /* An empty part's line break is the one that ends its header. */
    const uint8_t *from = m.at - 2;
    const uint8_t *found = memmem(from, (size_t)(m.end - from), m.delimiter, m.n_delimiter);
    if (!found)
        return rn_fail(err, RN_BAD_ARGUMENT,
                       "the form ends inside of part \"%s\": its last boundary is missing",
                       new.name);
    new.bytes = m.at;
    new.n_bytes = found < m.at ? 0 : (size_t)(found - m.at);
    m.at = found + m.n_delimiter;
    status = end_boundary(&m, err);
    if (status != RN_OK)
        return status;
    *part = new;
    *multipart = m;
    *more = true;
    return RN_OK;
}
