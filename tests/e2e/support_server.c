/* Child processes with captured outputs, and requests by libcurl.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/e2e/support_server.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_WORDS 64
#define READY_POLLS 600 /* of 100 ms: sanitizers are slow */

/* ---- processes ------------------------------------------------------------------------------- */

static void split(char *text, char **words, size_t n)
{
    char *rest = NULL;
    for (char *w = strtok_r(text, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        cr_assert_lt(n, (size_t)MAX_WORDS - 1);
        words[n++] = w;
    }
    words[n] = NULL;
}

static const char *binary(void)
{
    const char *path = getenv("RESNETD_BINARY");
    return path ? path : "build/resnetd";
}

_Noreturn static void become(const char *args, const char *env, const char *input, const int out[2],
                             const int err[2])
{
    char *words[MAX_WORDS] = {(char *)(uintptr_t)binary()}, *variables[MAX_WORDS];
    char path[1024], home[] = "HOME=/nonexistent";
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(path, sizeof path, "PATH=%s", getenv("PATH"));
    variables[0] = path;
    variables[1] = home;
    split(strdup(args), words, 1);
    split(strdup(env ? env : ""), variables, 2);
    const int in = open(input ? input : "/dev/null", O_RDONLY);
    (void)dup2(in, STDIN_FILENO);
    (void)dup2(out[1], STDOUT_FILENO);
    (void)dup2(err[1], STDERR_FILENO);
    for (int fd = 3; fd < 256; fd++)
        (void)close(fd);
    execve(words[0], words, variables);
    _exit(127);
}

void program_start(struct program *program, const char *args, const char *env, const char *input)
{
    int out[2], err[2];
    *program = (struct program){0};
    cr_assert_eq(pipe(out), 0);
    cr_assert_eq(pipe(err), 0);
    program->pid = fork();
    cr_assert_geq(program->pid, 0);
    if (program->pid == 0)
        become(args, env, input, out, err);
    (void)close(out[1]);
    (void)close(err[1]);
    program->stdout_fd = out[0];
    program->stderr_fd = err[0];
}

/* Appends what there is; false at the end. */
static bool drain(int fd, char **text, size_t *n)
{
    char piece[4096];
    const ssize_t got = read(fd, piece, sizeof piece);
    if (got <= 0)
        return false;
    *text = realloc(*text, *n + (size_t)got + 1);
    cr_assert_not_null(*text);
    memcpy(*text + *n, piece, (size_t)got);
    *n += (size_t)got;
    (*text)[*n] = '\0';
    return true;
}

/* Waits for output and takes it; false when both have ended, or after the time. */
static bool take_output(struct program *p, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = p->stdout_fd, .events = POLLIN},
                            {.fd = p->stderr_fd, .events = POLLIN}};
    if (p->stdout_fd < 0 && p->stderr_fd < 0)
        return false;
    if (poll(fds, 2, timeout_ms) <= 0)
        return false;
    if (fds[0].revents && !drain(p->stdout_fd, &p->stdout_text, &p->n_stdout)) {
        (void)close(p->stdout_fd);
        p->stdout_fd = -1;
    }
    if (fds[1].revents && !drain(p->stderr_fd, &p->stderr_text, &p->n_stderr)) {
        (void)close(p->stderr_fd);
        p->stderr_fd = -1;
    }
    return true;
}

int program_wait(struct program *program)
{
    int status = 0;
    while (take_output(program, -1))
        continue;
    cr_assert_eq(waitpid(program->pid, &status, 0), program->pid);
    program->pid = 0;
    if (!program->stdout_text)
        program->stdout_text = strdup("");
    if (!program->stderr_text)
        program->stderr_text = strdup("");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void program_done(struct program *program)
{
    if (program->pid > 0) {
        (void)kill(program->pid, SIGKILL);
        (void)program_wait(program);
    }
    free(program->stdout_text);
    free(program->stderr_text);
}

int program_run(struct program *program, const char *args)
{
    program_start(program, args, NULL, NULL);
    return program_wait(program);
}

/* ---- the server ------------------------------------------------------------------------------ */

static void wait_for(struct server *server, const char *text)
{
    struct program *p = &server->program;
    for (int i = 0; i < READY_POLLS && (!p->stderr_text || !strstr(p->stderr_text, text)); i++)
        (void)take_output(p, 100);
    cr_assert(p->stderr_text && strstr(p->stderr_text, text), "no \"%s\" in: %s", text,
              p->stderr_text ? p->stderr_text : "nothing");
}

void server_start(struct server *server, const char *options)
{
    char args[1024];
    (void)snprintf(args, sizeof args, "serve --listen 127.0.0.1:0 --access-log=/dev/null %s",
                   options);
    (void)signal(SIGPIPE, SIG_IGN);
    const bool tls = strstr(options, "--tls-certificate");
    const char *said = tls ? "is serving on https://127.0.0.1:" : "is serving on http://127.0.0.1:";
    program_start(&server->program, args, NULL, NULL);
    wait_for(server, said);
    server->port = atoi(strstr(server->program.stderr_text, said) + strlen(said));
    server->authorities[0] = '\0';
    (void)snprintf(server->url, sizeof server->url, "%s://127.0.0.1:%d", tls ? "https" : "http",
                   server->port);
}

void server_stop(struct server *server)
{
    (void)kill(server->program.pid, SIGTERM);
    const int status = program_wait(&server->program);
    cr_expect_eq(status, 0, "exit status %d: %s", status, server->program.stderr_text);
    program_done(&server->program);
}

double server_metric(const struct server *server, const char *series)
{
    struct reply reply;
    double value = -1;
    ask_get(server, "/metrics", &reply);
    cr_assert_eq(reply.status, 200);
    const size_t n = strlen(series);
    for (const char *line = reply.body; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, n) == 0 && line[n] == ' ')
            value = strtod(line + n, NULL);
    }
    reply_done(&reply);
    return value;
}

/* ---- the client ------------------------------------------------------------------------------ */

static size_t append(char **text, size_t *n, const char *bytes, size_t more)
{
    char *longer = realloc(*text, *n + more + 1);
    if (!longer)
        return 0;
    memcpy(longer + *n, bytes, more);
    *text = longer;
    *n += more;
    longer[*n] = '\0';
    return more;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct reply *reply = arg;
    return append(&reply->body, &reply->n, bytes, size * n);
}

static size_t on_header(char *bytes, size_t size, size_t n, void *arg)
{
    struct reply *reply = arg;
    return append(&reply->headers, &reply->n_headers, bytes, size * n);
}

/* What a request needs until it is over: its headers, and what is still to be sent of a chunked
 * body. */
struct upload {
    struct curl_slist *headers;
    const char *bytes;
    size_t n;
};

static size_t on_upload(char *to, size_t size, size_t n, void *arg)
{
    struct upload *upload = arg;
    const size_t room = size * n, now = upload->n < room ? upload->n : room;
    memcpy(to, upload->bytes, now);
    upload->bytes += now;
    upload->n -= now;
    return now;
}

CURL *ask_prepare(const struct server *server, const struct ask *ask, struct reply *reply)
{
    CURL *curl = curl_easy_init();
    char url[1024];
    struct upload *upload = calloc(1, sizeof *upload);
    cr_assert(curl && upload);
    *upload = (struct upload){.bytes = ask->body, .n = ask->n};
    *reply = (struct reply){.body = strdup(""), .headers = strdup("")};
    (void)snprintf(url, sizeof url, "%s%s", server->url, ask->path);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    if (server->authorities[0])
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, server->authorities);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, 120L);
    if (ask->mime) {
        (void)curl_easy_setopt(curl, CURLOPT_MIMEPOST, ask->mime);
    } else if (ask->chunked) {
        (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_upload);
        (void)curl_easy_setopt(curl, CURLOPT_READDATA, upload);
        upload->headers = curl_slist_append(upload->headers, "Transfer-Encoding: chunked");
    } else if (ask->body) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->body);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)ask->n);
    }
    if (ask->method)
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
    for (size_t i = 0; i < sizeof ask->headers / sizeof *ask->headers && ask->headers[i]; i++)
        upload->headers = curl_slist_append(upload->headers, ask->headers[i]);
    (void)curl_easy_setopt(curl, CURLOPT_PRIVATE, upload);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, upload->headers);
    return curl;
}

/* A line of $E2E_EXCHANGES, for tests/openapi.py; one write, since many processes append. */
static void record(CURL *curl, const struct reply *reply)
{
    const char *file = getenv("E2E_EXCHANGES");
    char *method = NULL, *url = NULL;
    if (!file || reply->status == 0)
        return;
    (void)curl_easy_getinfo(curl, CURLINFO_EFFECTIVE_METHOD, &method);
    (void)curl_easy_getinfo(curl, CURLINFO_EFFECTIVE_URL, &url);
    const char *path = strchr(strstr(url, "://") + 3, '/');
    json_t *line =
        json_pack("{s:s,s:s,s:I,s:s,s:O?}", "method", method, "path", path, "status",
                  (json_int_t)reply->status, "headers", reply->headers, "body", reply->json);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    cr_assert_not_null(text, "%s %s cannot be recorded", method, path);
    const size_t n = strlen(text);
    text[n] = '\n';
    const int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    cr_assert_geq(fd, 0, "%s", file);
    cr_assert_eq(write(fd, text, n + 1), (ssize_t)n + 1, "%s", file);
    (void)close(fd);
    free(text);
}

void ask_finish(CURL *curl, struct reply *reply)
{
    struct upload *upload = NULL;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    (void)curl_easy_getinfo(curl, CURLINFO_PRIVATE, &upload);
    curl_slist_free_all(upload->headers);
    free(upload);
    const char *type = reply_header(reply, "Content-Type");
    if (type && strstr(type, "json")) {
        json_error_t err;
        reply->json = json_loadb(reply->body, reply->n, JSON_REJECT_DUPLICATES, &err);
        cr_assert_not_null(reply->json, "%s: %s", err.text, reply->body);
    }
    record(curl, reply);
    curl_easy_cleanup(curl);
}

void ask(const struct server *server, const struct ask *ask, struct reply *reply)
{
    CURL *curl = ask_prepare(server, ask, reply);
    const CURLcode code = curl_easy_perform(curl);
    /* An answer before the end of the upload may come with a send error. */
    cr_assert(code == CURLE_OK || code == CURLE_SEND_ERROR, "%s: %s", ask->path,
              curl_easy_strerror(code));
    if (ask->mime)
        curl_mime_free(ask->mime);
    ask_finish(curl, reply);
}

void ask_get(const struct server *server, const char *path, struct reply *reply)
{
    ask(server, &(struct ask){.path = path}, reply);
}

void ask_file(const struct server *server, const char *path, const char *file, struct reply *reply)
{
    size_t n;
    char *bytes = read_file(file, &n);
    ask(server, &(struct ask){.path = path, .body = bytes, .n = n}, reply);
    free(bytes);
}

void ask_json(const struct server *server, const char *format, struct reply *reply)
{
    size_t n;
    char *bytes = read_file(PHOTO, &n), *base64 = to_base64(bytes, n), *body = NULL;
    const char *at = strstr(format, "%s");
    const int length = asprintf(&body, "%.*s%s%s", (int)(at - format), format, base64, at + 2);
    cr_assert_gt(length, 0);
    ask(server,
        &(struct ask){.path = "/classify",
                      .headers = {"Content-Type: application/json"},
                      .body = body,
                      .n = (size_t)length},
        reply);
    free(bytes);
    free(base64);
    free(body);
}

void reply_done(struct reply *reply)
{
    free(reply->body);
    free(reply->headers);
    json_decref(reply->json);
}

const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[1024];
    const size_t n = strlen(name);
    for (const char *line = reply->headers; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            line += n + 1 + strspn(line + n + 1, " ");
            (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r\n"), line);
            return value;
        }
    }
    return NULL;
}

void reply_is_problem(const struct reply *reply, int status, const char *slug)
{
    char type[64];
    (void)snprintf(type, sizeof type, "/problems/%s", slug);
    cr_assert_eq(reply->status, status, "%s: status %ld: %s", slug, reply->status, reply->body);
    cr_assert_str_eq(reply_header(reply, "Content-Type"), "application/problem+json");
    const json_t *j = reply->json;
    cr_assert_str_eq(json_string_value(json_object_get(j, "type")), type, "%s", reply->body);
    cr_assert_eq(json_integer_value(json_object_get(j, "status")), status);
    cr_assert(json_is_string(json_object_get(j, "title")), "%s", reply->body);
    cr_assert(json_is_string(json_object_get(j, "detail")), "%s", reply->body);
    const char *instance = json_string_value(json_object_get(j, "instance"));
    cr_assert(instance && strncmp(instance, "urn:resnetd:request:", 20) == 0, "%s", reply->body);
}

char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rbe");
    cr_assert_not_null(f, "%s", path);
    char *bytes = NULL;
    *n = 0;
    for (;;) {
        char piece[65536];
        const size_t got = fread(piece, 1, sizeof piece, f);
        if (got == 0)
            break;
        (void)append(&bytes, n, piece, got);
    }
    (void)fclose(f);
    return bytes;
}

char *to_base64(const void *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = bytes;
    char *text = calloc((n + 2) / 3 * 4 + 1, 1), *to = text;
    cr_assert_not_null(text);
    for (size_t i = 0; i < n; i += 3) {
        const unsigned group = (unsigned)b[i] << 16 | (i + 1 < n ? (unsigned)b[i + 1] << 8 : 0) |
                               (i + 2 < n ? b[i + 2] : 0);
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        *to++ = i + 1 < n ? digits[group >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digits[group & 63] : '=';
    }
    return text;
}
