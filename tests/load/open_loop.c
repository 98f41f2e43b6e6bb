/* An open-loop HTTP load: requests arrive by a Poisson process whether or not earlier ones were
 * answered, and latency counts from the time at which a request should have been sent, so that a
 * stalled server (or client) hides nothing (no coordinated omission).
 *
 *   open_loop --url http://HOST:PORT/classify --rate R --seconds S [--deadline-ms D] [--seed N]
 *             [--expect 1] FILE...
 *
 * Every request posts the next file, over an idle connection or a new one, with a number behind the
 * image, so that no two are the same (a server may compute equal ones once). With --deadline-ms the
 * URL gets timeout_ms=D, and an answer 200 within D is good. With --expect 1 only the header is
 * sent (Expect: 100-continue), and the image when the server asks for it. Prints one JSON object:
 * {"offered":…,"sent":…,"good_per_second":…,"late":…,"statuses":{"200":…},"errors":…,
 *  "ok_ms":{"p50","p90","p99","max"},"refused_ms":{…},"behind_ms":{…}}; offered and good are per
 * second of the arrivals' time, behind is how late the client itself was in sending.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <uv.h>

#define MAX_HEADER 8192
#define LAST_WAIT_MS 15000 /* for answers after the last arrival */
#define MAX_STATUS 600
#define MARK_BYTES 16

struct file {
    char *message; /* header and body */
    size_t n, n_header;
};

struct times {
    double *ms;
    size_t n, room;
};

struct conn {
    uv_tcp_t tcp;
    uv_connect_t connecting;
    uv_write_t writing;
    struct conn *next; /* idle ones */
    double due_ms;     /* of the request under way */
    bool busy, closing, writes;
    bool asks; /* the body is still here, the server has not said 100 */
    char header[MAX_HEADER + 1];
    size_t n_header;
    int status;     /* 0: the header is not whole */
    long long left; /* bytes of the answer's body still to come */
    bool ends;      /* Connection: close */
    const struct file *file;
    char mark[MARK_BYTES + 1]; /* behind the file, another one in every request */
};

static struct {
    uv_loop_t loop;
    uv_timer_t arrivals;
    struct sockaddr_in address;
    struct file *files;
    size_t n_files, n_sent, n_open;
    struct conn *idle;
    double rate, seconds, deadline_ms, next_ms, end_ms, start_ms, last_ms;
    bool expect;
    uint64_t random;
    size_t statuses[MAX_STATUS], n_errors, n_good, n_late;
    struct times ok, refused, behind;
    char buffer[65536];
} load;

static void fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "open_loop: %s: %s\n", what, why);
    exit(1);
}

static double now_ms(void)
{
    return (double)uv_hrtime() / 1e6;
}

static void add(struct times *times, double ms)
{
    if (times->n == times->room) {
        times->room = times->room ? 2 * times->room : 1024;
        times->ms = realloc(times->ms, times->room * sizeof *times->ms);
        if (!times->ms)
            fail("answers", "out of memory");
    }
    times->ms[times->n++] = ms;
}

/* ---- a request ------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    load.n_open--;
    free(handle->data);
}

static void drop(struct conn *conn)
{
    if (conn->closing)
        return;
    conn->closing = true;
    if (conn->busy)
        load.n_errors++;
    conn->busy = false;
    for (struct conn **link = &load.idle; *link; link = &(*link)->next)
        if (*link == conn) {
            *link = conn->next;
            break;
        }
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static void answered(struct conn *conn)
{
    const double ms = now_ms() - conn->due_ms;
    conn->busy = false;
    load.statuses[conn->status]++;
    if (conn->status == 200) {
        add(&load.ok, ms);
        if (load.deadline_ms <= 0 || ms <= load.deadline_ms)
            load.n_good++;
        else
            load.n_late++;
    } else {
        add(&load.refused, ms);
    }
    load.last_ms = now_ms();
    if (conn->ends || conn->writes || conn->asks) {
        drop(conn);
    } else {
        conn->next = load.idle;
        load.idle = conn;
    }
}

/* Status, length and Connection of a whole header; false when it is none. */
static bool parse_header(struct conn *conn)
{
    if (sscanf(conn->header, "HTTP/1.%*d %d", &conn->status) != 1 || conn->status < 100 ||
        conn->status >= MAX_STATUS)
        return false;
    conn->left = 0;
    conn->ends = false;
    for (const char *line = strstr(conn->header, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            conn->left = strtoll(line + 15, NULL, 10);
        else if (strncasecmp(line, "Connection: close", 17) == 0)
            conn->ends = true;
    }
    return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(load.buffer, sizeof load.buffer);
}

static void on_written(uv_write_t *request, int status)
{
    struct conn *conn = request->data;
    (void)status; /* an error shows when reading, after an early answer that may be there */
    conn->writes = false;
}

/* Of the file's message from `first` to `end`, and the mark where that is all of it. */
static void send_part(struct conn *conn, size_t first, size_t end)
{
    const uv_buf_t bufs[] = {uv_buf_init(conn->file->message + first, (unsigned)(end - first)),
                             uv_buf_init(conn->mark, MARK_BYTES)};
    conn->writes = true;
    conn->writing.data = conn;
    if (uv_write(&conn->writing, (uv_stream_t *)&conn->tcp, bufs, end == conn->file->n ? 2 : 1,
                 on_written) != 0)
        drop(conn);
}

static void send_request(struct conn *conn)
{
    (void)snprintf(conn->mark, sizeof conn->mark, "%0*zx", MARK_BYTES, load.n_sent);
    conn->asks = load.expect;
    send_part(conn, 0, load.expect ? conn->file->n_header : conn->file->n);
}

/* Takes the header's bytes from *bytes; false while it is not whole or the connection is gone. */
static bool take_header(struct conn *conn, const char **bytes, size_t *n)
{
    const size_t before = conn->n_header, room = MAX_HEADER - before;
    const size_t take = *n < room ? *n : room;
    memcpy(conn->header + before, *bytes, take);
    conn->n_header += take;
    conn->header[conn->n_header] = '\0';
    char *end = strstr(conn->header, "\r\n\r\n");
    if (!end) {
        if (conn->n_header == MAX_HEADER)
            drop(conn);
        return false;
    }
    end[2] = '\0';
    if (!parse_header(conn)) {
        drop(conn);
        return false;
    }
    const size_t used = (size_t)(end + 4 - conn->header) - before;
    *bytes += used;
    *n -= used;
    return true;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    if (n < 0 || (n > 0 && !conn->busy)) {
        drop(conn);
        return;
    }
    const char *bytes = buf->base;
    size_t n_left = (size_t)n;
    while (conn->status == 0) {
        if (!take_header(conn, &bytes, &n_left))
            return;
        if (conn->status != 100)
            break;
        conn->status = 0;
        conn->n_header = 0;
        if (conn->asks)
            send_part(conn, conn->file->n_header, conn->file->n);
        conn->asks = false;
    }
    conn->left -= (long long)n_left;
    if (conn->left <= 0)
        answered(conn);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct conn *conn = request->data;
    if (conn->closing)
        return;
    if (status != 0 || uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) != 0)
        drop(conn);
    else
        send_request(conn);
}

static void start_request(double due_ms)
{
    struct conn *conn = load.idle;
    const bool fresh = !conn;
    if (fresh) {
        conn = calloc(1, sizeof *conn);
        if (!conn)
            fail("connection", "out of memory");
        (void)uv_tcp_init(&load.loop, &conn->tcp);
        (void)uv_tcp_nodelay(&conn->tcp, 1);
        conn->tcp.data = conn->connecting.data = conn;
        load.n_open++;
    } else {
        load.idle = conn->next;
    }
    conn->busy = true;
    conn->status = 0;
    conn->n_header = 0;
    conn->due_ms = due_ms;
    conn->file = &load.files[load.n_sent++ % load.n_files];
    add(&load.behind, now_ms() - due_ms);
    if (!fresh)
        send_request(conn);
    else if (uv_tcp_connect(&conn->connecting, &conn->tcp, (const struct sockaddr *)&load.address,
                            on_connected) != 0)
        drop(conn);
}

/* ---- arrivals -------------------------------------------------------------------------------- */

/* Uniform in (0, 1]: splitmix64 (Steele, Lea & Flood 2014). */
static double uniform(void)
{
    uint64_t z = load.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)(((z ^ (z >> 31)) >> 11) + 1) / 9007199254740992.0;
}

static void close_all(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (handle->type == UV_TCP)
        drop(handle->data);
}

static void on_arrivals(uv_timer_t *timer)
{
    double now = now_ms();
    while (load.next_ms <= now && load.next_ms < load.end_ms) {
        start_request(load.next_ms);
        load.next_ms -= log(uniform()) / load.rate * 1e3;
        now = now_ms();
    }
    if (load.next_ms < load.end_ms) {
        /* Rounded up to the timers' milliseconds: a client that spins takes a core from a server on
         * the same machine. Latency counts from the intended time all the same. */
        const double wait = load.next_ms - now;
        uv_update_time(&load.loop);
        (void)uv_timer_start(timer, on_arrivals, wait > 0 ? (uint64_t)ceil(wait) : 0, 0);
        return;
    }
    size_t n_busy = load.n_sent - load.n_errors - load.ok.n - load.refused.n;
    if (n_busy > 0 && now < load.end_ms + LAST_WAIT_MS)
        (void)uv_timer_start(timer, on_arrivals, 20, 0);
    else
        uv_walk(&load.loop, close_all, NULL);
}

/* ---- the report ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nearest rank. */
static double quantile(const struct times *times, double q)
{
    if (times->n == 0)
        return 0;
    const size_t rank = (size_t)ceil(q * (double)times->n);
    return times->ms[rank > 0 ? rank - 1 : 0];
}

static void print_times(const char *name, struct times *times)
{
    if (times->n > 0)
        qsort(times->ms, times->n, sizeof *times->ms, compare);
    (void)printf(",\"%s\":{\"n\":%zu,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"max\":%.2f}", name,
                 times->n, quantile(times, 0.5), quantile(times, 0.9), quantile(times, 0.99),
                 quantile(times, 1));
}

static void report(void)
{
    (void)printf("{\"offered\":%.2f,\"seconds\":%.1f,\"deadline_ms\":%.0f,\"sent\":%zu,"
                 "\"good_per_second\":%.2f,\"late\":%zu,\"errors\":%zu,\"statuses\":{",
                 (double)load.n_sent / load.seconds, load.seconds, load.deadline_ms, load.n_sent,
                 (double)load.n_good / load.seconds, load.n_late, load.n_errors);
    const char *comma = "";
    for (int status = 0; status < MAX_STATUS; status++)
        if (load.statuses[status] > 0) {
            (void)printf("%s\"%d\":%zu", comma, status, load.statuses[status]);
            comma = ",";
        }
    (void)printf("}");
    print_times("ok_ms", &load.ok);
    print_times("refused_ms", &load.refused);
    print_times("behind_ms", &load.behind);
    (void)printf("}\n");
}

/* ---- the start ------------------------------------------------------------------------------- */

static void read_file(const char *path, const char *target, const char *host, struct file *file)
{
    FILE *in = fopen(path, "rb");
    if (!in || fseek(in, 0, SEEK_END) != 0)
        fail(path, strerror(errno));
    const long n = ftell(in);
    rewind(in);
    char header[1024];
    const int n_header =
        snprintf(header, sizeof header,
                 "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\n"
                 "Content-Length: %ld\r\n%s\r\n",
                 target, host, n + MARK_BYTES, load.expect ? "Expect: 100-continue\r\n" : "");
    if (n <= 0 || n_header >= (int)sizeof header)
        fail(path, "empty, or the URL is too long");
    file->n_header = (size_t)n_header;
    file->n = (size_t)n_header + (size_t)n;
    file->message = malloc(file->n);
    if (!file->message)
        fail(path, "out of memory");
    memcpy(file->message, header, (size_t)n_header);
    if (fread(file->message + n_header, 1, (size_t)n, in) != (size_t)n)
        fail(path, "cannot be read");
    (void)fclose(in);
}

int main(int argc, char **argv)
{
    const char *url = "";
    int first = 1;
    load.rate = 10;
    load.seconds = 10;
    load.random = 1;
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        const char *name = argv[first] + 2, *value = argv[first + 1];
        if (strcmp(name, "url") == 0)
            url = value;
        else if (strcmp(name, "rate") == 0)
            load.rate = strtod(value, NULL);
        else if (strcmp(name, "seconds") == 0)
            load.seconds = strtod(value, NULL);
        else if (strcmp(name, "deadline-ms") == 0)
            load.deadline_ms = strtod(value, NULL);
        else if (strcmp(name, "expect") == 0)
            load.expect = strcmp(value, "0") != 0;
        else if (strcmp(name, "seed") == 0)
            load.random = strtoull(value, NULL, 10);
        else
            fail(argv[first], "unknown option");
    }
    char host[128] = "", path[256] = "/", target[320];
    int port = 0;
    if (sscanf(url, "http://%127[0-9.]:%d%255s", host, &port, path) < 2 || first >= argc ||
        load.rate <= 0 || load.seconds <= 0)
        fail("usage", "open_loop --url http://IP:PORT/PATH --rate R --seconds S [--deadline-ms D] "
                      "[--seed N] [--expect 1] FILE...");
    (void)snprintf(target, sizeof target, load.deadline_ms > 0 ? "%s?timeout_ms=%.0f" : "%s", path,
                   load.deadline_ms);
    load.n_files = (size_t)(argc - first);
    load.files = calloc(load.n_files, sizeof *load.files);
    if (!load.files || uv_ip4_addr(host, port, &load.address) != 0)
        fail(url, "no address, or out of memory");
    for (size_t i = 0; i < load.n_files; i++)
        read_file(argv[first + (int)i], target, host, &load.files[i]);
    (void)uv_loop_init(&load.loop);
    (void)uv_timer_init(&load.loop, &load.arrivals);
    load.start_ms = load.next_ms = now_ms();
    load.end_ms = load.start_ms + load.seconds * 1e3;
    (void)uv_timer_start(&load.arrivals, on_arrivals, 0, 0);
    (void)uv_run(&load.loop, UV_RUN_DEFAULT);
    report();
    return 0;
}
