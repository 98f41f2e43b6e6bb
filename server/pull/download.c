/* A request at a time: redirects are followed here, so that each target is looked at first and what
 * the hub says of a file is told from what a store behind it says.
 *
 * SPDX-License-Identifier: MIT */
#include "server/pull/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_REDIRECTS 5
#define MAX_TRIES 4
#define FIRST_PAUSE_US 250000 /* doubled after each try */
#define CONNECT_TIMEOUT_S 15L
#define STALL_BYTES_PER_S 256L /* slower than that for so long is a failure */
#define STALL_S 30L

/* What a response's header says. */
struct head {
    char etag[256], linked_etag[256];
    int64_t range_start; /* of Content-Range, -1 without */
};

struct transfer {
    const struct download *download;
    CURL *curl;
    int fd;          /* of the .part */
    uint64_t n_part; /* bytes of it that are good */
    uint64_t asked;  /* the offset that was asked for */
    bool started;    /* this response's body goes into the file */
    struct head head;
    char part[PATH_MAX], etag_path[PATH_MAX];
    char saved_etag[256];
    char wanted[65]; /* SHA-256 that the hub told, "" for none */
    char why[CURL_ERROR_SIZE];
    struct rn_error *err;
};

/* What became of one try. */
enum verdict { WHOLE, SAME, ABSENT, AGAIN, HOPELESS };

bool download_allows(const char *url)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL, *host = NULL;
    bool allowed = false;
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        const bool local = strcmp(host, "127.0.0.1") == 0 || strcmp(host, "[::1]") == 0 ||
                           strcmp(host, "localhost") == 0;
        allowed = strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && local);
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parsed);
    return allowed;
}

/* Does the URL lead to the hub itself, not to a store that it named? */
static bool is_hub(const char *url, const char *hub)
{
    char *authority[2] = {NULL, NULL};
    const char *urls[2] = {url, hub};
    for (int i = 0; i < 2; i++) {
        char *host = NULL, *port = NULL;
        CURLU *parsed = curl_url();
        if (parsed && curl_url_set(parsed, CURLUPART_URL, urls[i], 0) == CURLUE_OK &&
            curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
            curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
            asprintf(&authority[i], "%s:%s", host, port) < 0)
            authority[i] = NULL;
        curl_free(host);
        curl_free(port);
        curl_url_cleanup(parsed);
    }
    const bool same = authority[0] && authority[1] && strcmp(authority[0], authority[1]) == 0;
    free(authority[0]);
    free(authority[1]);
    return same;
}

/* ---- hashes ------------------------------------------------------------------------------------
 */

static bool hash_file(const char *path, char hex[65])
{
    static uint8_t piece[1 << 16];
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx sha;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n;
    sha256_init(&sha);
    while ((n = read(fd, piece, sizeof piece)) > 0)
        sha256_update(&sha, (size_t)n, piece);
    (void)close(fd);
    sha256_digest(&sha, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return n == 0;
}

/* An ETag of 64 hex digits is the file's SHA-256; others mean something to the server only. */
static void take_sha256(const char *etag, char out[65])
{
    const char *digits = etag[0] == '"' ? etag + 1 : etag;
    if (strspn(digits, "0123456789abcdef") == 64 && (digits[64] == '\0' || digits[64] == '"')) {
        memcpy(out, digits, 64);
        out[64] = '\0';
    }
}

/* ---- what comes in ------------------------------------------------------------------------------
 */

static void copy_value(char *out, size_t size, const char *value, size_t n)
{
    while (n > 0 && (value[0] == ' ' || value[0] == '\t')) {
        value++;
        n--;
    }
    n = strcspn(value, "\r\n") < n ? strcspn(value, "\r\n") : n;
    (void)snprintf(out, size, "%.*s", (int)(n < size ? n : 0), value);
}

static size_t on_header(char *bytes, size_t size, size_t n_items, void *arg)
{
    struct transfer *t = arg;
    const size_t n = size * n_items;
    char range[64];
    char line[600];
    (void)snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : 0), bytes);
    if (strncmp(line, "HTTP/", 5) == 0)
        t->head = (struct head){.range_start = -1};
    else if (strncasecmp(line, "etag:", 5) == 0)
        copy_value(t->head.etag, sizeof t->head.etag, line + 5, strlen(line + 5));
    else if (strncasecmp(line, "x-linked-etag:", 14) == 0)
        copy_value(t->head.linked_etag, sizeof t->head.linked_etag, line + 14, strlen(line + 14));
    else if (strncasecmp(line, "content-range:", 14) == 0) {
        copy_value(range, sizeof range, line + 14, strlen(line + 14));
        (void)sscanf(range, "bytes %" SCNd64 "-", &t->head.range_start);
    }
    return n;
}

/* A weak ETag does not say that the bytes are the same, so it does not serve for going on. */
static bool save_etag(struct transfer *t)
{
    (void)unlink(t->etag_path);
    if (t->head.etag[0] != '"')
        return true;
    FILE *f = fopen(t->etag_path, "we");
    if (!f)
        return false;
    const bool ok = fputs(t->head.etag, f) >= 0;
    return fclose(f) == 0 && ok;
}

/* The first bytes of a body: does it go on where the file ends, or begin anew? */
static bool start_body(struct transfer *t, long status)
{
    if (status == 206) {
        if (t->asked == 0 || t->head.range_start != (int64_t)t->asked) {
            (void)rn_fail(t->err, RN_IO, "%.150s: the server sent another range than asked for",
                          t->download->url);
            return false;
        }
    } else {
        t->n_part = 0;
        if (ftruncate(t->fd, 0) != 0 || !save_etag(t)) {
            (void)rn_fail(t->err, RN_IO, "%.150s: %s", t->part, strerror(errno));
            return false;
        }
    }
    t->started = true;
    return true;
}

static size_t on_body(char *bytes, size_t size, size_t n_items, void *arg)
{
    struct transfer *t = arg;
    const size_t n = size * n_items;
    long status = 0;
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206)
        return n; /* a page about an error or a redirect */
    if (!t->started && !start_body(t, status))
        return 0;
    if (n > t->download->max_bytes - t->n_part) {
        (void)rn_fail(t->err, RN_IO, "%.150s: it is larger than %" PRIu64 " bytes",
                      t->download->url, t->download->max_bytes);
        return 0;
    }
    for (size_t done = 0; done < n;) {
        const ssize_t more = pwrite(t->fd, bytes + done, n - done, (off_t)(t->n_part + done));
        if (more <= 0) {
            (void)rn_fail(t->err, RN_IO, "%.150s: %s", t->part, strerror(errno));
            return 0;
        }
        done += (size_t)more;
    }
    t->n_part += n;
    return n;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up)
{
    const struct transfer *t = arg;
    (void)now;
    (void)up_total;
    (void)up;
    if (t->started && total > 0)
        t->download->progress(t->download->context, t->n_part,
                              (uint64_t)total + (t->head.range_start > 0 ? t->asked : 0));
    return 0;
}

/* ---- one try ------------------------------------------------------------------------------------
 */

static CURLcode get(struct transfer *t, const char *url, long *status)
{
    struct curl_slist *headers = NULL;
    char range[64], condition[300];
    CURL *curl = t->curl;
    curl_easy_reset(curl);
    t->started = false;
    t->why[0] = '\0';
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "resnetd/" RESNETD_VERSION);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES_PER_S);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_S);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->why);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    const char *authorities = getenv("SSL_CERT_FILE"); /* as OpenSSL's own programs have it */
    if (authorities)
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
    if (t->download->progress) {
        (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    }
    if (t->asked > 0) {
        (void)snprintf(range, sizeof range, "%" PRIu64 "-", t->asked);
        (void)snprintf(condition, sizeof condition, "If-Range: %s", t->saved_etag);
        headers = curl_slist_append(headers, condition);
        (void)curl_easy_setopt(curl, CURLOPT_RANGE, range);
        (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    }
    const CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(headers);
    return code;
}

/* The file that is there already is the one that the hub has. */
static bool is_same(const struct transfer *t)
{
    char hex[65];
    return t->download->have && t->wanted[0] && hash_file(t->download->have, hex) &&
           strcmp(hex, t->wanted) == 0;
}

/* True with the next URL, malloc'ed, of a redirect that may be followed. */
static bool redirect(struct transfer *t, const char *url, char **next)
{
    char *target = NULL;
    (void)curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &target);
    if (!target || !download_allows(target)) {
        (void)rn_fail(t->err, RN_IO, "%.120s: redirected to %.100s, which is not HTTPS", url,
                      target ? target : "nowhere");
        return false;
    }
    *next = strdup(target);
    return *next != NULL;
}

static enum verdict judge(struct transfer *t, CURLcode code, long status)
{
    const char *url = t->download->url;
    if (t->err->text[0])
        return HOPELESS; /* said in a callback */
    if (code != CURLE_OK) {
        (void)rn_fail(t->err, RN_IO, "%.120s: %.120s", url,
                      t->why[0] ? t->why : curl_easy_strerror(code));
        return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT ||
                       code == CURLE_UNSUPPORTED_PROTOCOL
                   ? HOPELESS
                   : AGAIN;
    }
    if (status == 404 || status == 410)
        return ABSENT;
    if (status == 200 || status == 206) {
        if (!t->started && t->download->max_bytes > 0)
            return start_body(t, status) ? WHOLE : HOPELESS; /* an empty file */
        return WHOLE;
    }
    (void)rn_fail(t->err, RN_IO, "%.150s: the server answers %ld", url, status);
    if (status == 416)
        (void)unlink(t->etag_path);
    return status == 416 || status == 408 || status == 429 || status >= 500 ? AGAIN : HOPELESS;
}

static enum verdict try(struct transfer *t)
{
    char *url = strdup(t->download->url), *next = NULL;
    enum verdict verdict = HOPELESS;
    t->wanted[0] = '\0';
    for (int hop = 0; url; hop++) {
        long status = 0;
        const CURLcode code = get(t, url, &status);
        if (status < 400 && is_hub(url, t->download->url))
            take_sha256(t->head.linked_etag[0] ? t->head.linked_etag : t->head.etag, t->wanted);
        if (code != CURLE_OK || status < 300 || status >= 400) {
            verdict = judge(t, code, status);
            break;
        }
        if (is_same(t)) {
            verdict = SAME;
            break;
        }
        if (hop == MAX_REDIRECTS) {
            (void)rn_fail(t->err, RN_IO, "%.150s: more than %d redirects", t->download->url,
                          MAX_REDIRECTS);
            break;
        }
        if (!redirect(t, url, &next))
            break;
        free(url);
        url = next;
    }
    free(url);
    return verdict;
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

/* How much of the file is there from before, and under which ETag. */
static bool open_part(struct transfer *t)
{
    struct stat st;
    t->asked = t->n_part = 0;
    t->saved_etag[0] = '\0';
    t->fd = open(t->part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (t->fd < 0) {
        (void)rn_fail(t->err, RN_IO, "%.150s: %s", t->part, strerror(errno));
        return false;
    }
    FILE *f = fopen(t->etag_path, "re");
    if (f) {
        if (!fgets(t->saved_etag, sizeof t->saved_etag, f))
            t->saved_etag[0] = '\0';
        (void)fclose(f);
    }
    if (t->saved_etag[0] && fstat(t->fd, &st) == 0 &&
        (uint64_t)st.st_size <= t->download->max_bytes)
        t->asked = t->n_part = (uint64_t)st.st_size;
    return true;
}

static bool finish(struct transfer *t, struct download_result *result)
{
    const struct download *d = t->download;
    if (fsync(t->fd) != 0 || !hash_file(t->part, result->sha256)) {
        (void)rn_fail(t->err, RN_IO, "%.150s: %s", t->part, strerror(errno));
        return false;
    }
    result->bytes = t->n_part;
    result->verified = t->wanted[0] != '\0';
    if (result->verified && strcmp(result->sha256, t->wanted) != 0) {
        (void)unlink(t->part);
        (void)unlink(t->etag_path);
        (void)rn_fail(t->err, RN_IO, "%.80s: its SHA-256 is %.16s…, the hub says %.16s…; deleted",
                      d->url, result->sha256, t->wanted);
        return false;
    }
    if (rename(t->part, d->path) != 0) {
        (void)rn_fail(t->err, RN_IO, "%.150s: %s", d->path, strerror(errno));
        return false;
    }
    (void)unlink(t->etag_path);
    return true;
}

static bool reuse(struct transfer *t, struct download_result *result)
{
    struct stat st;
    (void)unlink(t->part);
    (void)unlink(t->etag_path);
    (void)unlink(t->download->path);
    if (stat(t->download->have, &st) != 0 || link(t->download->have, t->download->path) != 0) {
        (void)rn_fail(t->err, RN_IO, "%.150s: %s", t->download->path, strerror(errno));
        return false;
    }
    result->bytes = (uint64_t)st.st_size;
    result->verified = true;
    memcpy(result->sha256, t->wanted, sizeof t->wanted);
    return true;
}

/* One try after another while it may help; one that brought something to go on from may be followed
 * by as many again. */
static enum verdict run(struct transfer *t)
{
    enum verdict verdict = AGAIN;
    useconds_t pause_us = FIRST_PAUSE_US;
    uint64_t farthest = 0;
    for (int i = 0; i < MAX_TRIES; i++) {
        if (!open_part(t))
            return HOPELESS;
        if (t->asked > farthest) {
            farthest = t->asked;
            i = 0;
            pause_us = FIRST_PAUSE_US;
        }
        t->err->text[0] = '\0';
        verdict = try(t);
        if (verdict == WHOLE)
            return verdict; /* the file stays open */
        (void)close(t->fd);
        t->fd = -1;
        if (verdict != AGAIN)
            return verdict;
        if (i + 1 < MAX_TRIES)
            (void)usleep(pause_us);
        pause_us *= 2;
    }
    return verdict;
}

enum download_end download_file(const struct download *download, struct download_result *result,
                                struct rn_error *err)
{
    struct transfer t = {.download = download, .fd = -1, .err = err};
    enum download_end end = DOWNLOAD_FAILED;
    err->text[0] = '\0';
    *result = (struct download_result){0};
    (void)snprintf(t.part, sizeof t.part, "%s.part", download->path);
    (void)snprintf(t.etag_path, sizeof t.etag_path, "%s.etag", download->path);
    if (!download_allows(download->url)) {
        (void)rn_fail(err, RN_BAD_ARGUMENT,
                      "%.150s: only https:// is taken, and http:// to this machine", download->url);
        return DOWNLOAD_FAILED;
    }
    t.curl = curl_easy_init();
    if (!t.curl) {
        (void)rn_fail(err, RN_NO_MEMORY, "out of memory");
        return DOWNLOAD_FAILED;
    }
    switch (run(&t)) {
    case WHOLE:
        end = finish(&t, result) ? DOWNLOAD_DONE : DOWNLOAD_FAILED;
        break;
    case SAME:
        end = reuse(&t, result) ? DOWNLOAD_SAME : DOWNLOAD_FAILED;
        break;
    case ABSENT:
        (void)unlink(t.part);
        end = DOWNLOAD_ABSENT;
        break;
    default:
        break;
    }
    if (t.fd >= 0)
        (void)close(t.fd);
    curl_easy_cleanup(t.curl);
    return end;
}
