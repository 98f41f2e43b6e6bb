/* `resnetd-pull`, which `resnetd pull` becomes: a model from a hub into the model directory.
 *
 * A program of its own, so that the daemon, which faces strangers, has no HTTP client and none of
 * the libraries behind it. One thread; what is asked for goes to stdout, progress to stderr. A
 * model is made in a hidden folder beside its place, opened to see that it is one, and moved there
 * whole.
 *
 * SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "engine/engine.h"
#include "server/clock.h"
#include "server/cmd/cmd.h"
#include "server/cmd/offline.h"
#include "server/pull/download.h"

#define MAX_WEIGHTS_BYTES ((uint64_t)4 << 30)
#define MAX_JSON_BYTES ((uint64_t)1 << 20)
#define MAX_NAME 128
#define BAR_WIDTH 24
#define BAR_EVERY_NS 100000000u

static const char usage[] =
    "pull [--model-dir DIR] [--hub URL] [--revision REV] [--name NAME] REPOSITORY\n\n"
    "Fetches a model from a hub: URL/REPOSITORY/resolve/REV/model.safetensors with its "
    "config.json\n"
    "and preprocessor_config.json. It is then served by --model NAME.";

static const struct file {
    const char *name;
    uint64_t max_bytes;
    bool optional;
} files[] = {
    {"config.json", MAX_JSON_BYTES, true},
    {"preprocessor_config.json", MAX_JSON_BYTES, true},
    {"model.safetensors", MAX_WEIGHTS_BYTES, false},
};
#define N_FILES (sizeof files / sizeof files[0])

struct pull {
    const char *hub, *dir, *repository, *revision, *name;
    char stage[PATH_MAX], place[PATH_MAX]; /* where it is made, where it will be */
    int lock;
    const char *file; /* being fetched */
    uint64_t started_ns, drawn_ns;
    bool terminal;
};

/* ---- words -------------------------------------------------------------------------------------
 */

static bool is_word(const char *text, const char *more)
{
    for (const char *p = text; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
            !strchr(more, *p))
            return false;
    return text[0] != '\0' && text[0] != '.' && text[0] != '/' && strlen(text) <= MAX_NAME;
}

/* OWNER/NAME or NAME; no segment begins with a dot, so that none leads upwards. */
static bool check_words(const struct pull *pull)
{
    const char *slash = strchr(pull->repository, '/');
    if (!is_word(pull->repository, "._-/") || (slash && strchr(slash + 1, '/')) ||
        (slash && !is_word(slash + 1, "._-"))) {
        offline_complain("\"%s\" is no repository like timm/resnet50.a1_in1k", pull->repository);
        return false;
    }
    if (!is_word(pull->revision, "._-/") || strstr(pull->revision, "..") ||
        strstr(pull->revision, "//")) {
        offline_complain("--revision: \"%s\" is no branch, tag or commit", pull->revision);
        return false;
    }
    if (!is_word(pull->name, "._-")) {
        offline_complain("--name: \"%s\" is no name of letters, digits, \".\", \"_\" and \"-\"",
                         pull->name);
        return false;
    }
    return true;
}

/* ---- progress
 * ------------------------------------------------------------------------------------ */

/* "12.3 MB" */
static const char *megabytes(double bytes, char buf[32])
{
    (void)snprintf(buf, 32, bytes < 1e6 ? "%.1f kB" : "%.1f MB", bytes / (bytes < 1e6 ? 1e3 : 1e6));
    return buf;
}

static void draw(void *context, uint64_t now, uint64_t total)
{
    struct pull *pull = context;
    const uint64_t now_ns = clock_ns();
    char bar[BAR_WIDTH + 1], a[32], b[32], c[32];
    if (now < total && now_ns - pull->drawn_ns < BAR_EVERY_NS)
        return;
    pull->drawn_ns = now_ns;
    const double part = total ? (double)now / (double)total : 0;
    const double seconds = (double)(now_ns - pull->started_ns) / 1e9;
    const int n = part >= 1 ? BAR_WIDTH : (int)(part * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < n ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(stderr, "\r\033[K%s %s %3.0f %% of %s, %s/s", pull->file, bar, 100 * part,
                  megabytes((double)total, a),
                  seconds > 0 ? megabytes((double)now / seconds, b) : megabytes(0, c));
}

static void tell(const struct pull *pull, const struct download_result *result, const char *how)
{
    char size[32];
    if (pull->terminal)
        (void)fputs("\r\033[K", stderr);
    (void)fprintf(stderr, "%s: %s, %s sha256:%s%s\n", pull->file,
                  megabytes((double)result->bytes, size), how, result->sha256,
                  result->verified ? " as the hub says" : "");
}

/* ---- files
 * --------------------------------------------------------------------------------------- */

static bool complain_errno(const char *path)
{
    offline_complain("%s: %s", path, strerror(errno));
    return false;
}

static bool join(char out[PATH_MAX], const char *folder, const char *prefix, const char *name)
{
    const int n = snprintf(out, PATH_MAX, "%s/%s%s", folder, prefix, name);
    if (n > 0 && n < PATH_MAX - 8)
        return true;
    offline_complain("%s: the path is too long", folder);
    return false;
}

/* A folder to make the model in, ours alone as long as we run. */
static bool open_stage(struct pull *pull)
{
    if (!join(pull->stage, pull->dir, ".pull-", pull->name) ||
        !join(pull->place, pull->dir, "", pull->name))
        return false;
    if ((mkdir(pull->dir, 0755) != 0 && errno != EEXIST) ||
        (mkdir(pull->stage, 0755) != 0 && errno != EEXIST))
        return complain_errno(pull->dir);
    pull->lock = open(pull->stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (pull->lock < 0)
        return complain_errno(pull->stage);
    if (flock(pull->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    offline_complain("%s is being pulled by another process", pull->name);
    return false;
}

/* Removes a folder of a model with all that pull may have put there. */
static void remove_folder(const char *folder)
{
    static const char *const ends[] = {"", ".part", ".etag"};
    char path[PATH_MAX];
    for (size_t i = 0; i < N_FILES; i++)
        for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++) {
            (void)snprintf(path, sizeof path, "%.3900s/%s%s", folder, files[i].name, ends[e]);
            (void)unlink(path);
        }
    (void)rmdir(folder);
}

static bool fetch(struct pull *pull, const struct file *file)
{
    char url[2048], path[PATH_MAX], have[PATH_MAX];
    struct download_result result;
    struct rn_error err;
    const size_t n_hub = strlen(pull->hub) - (pull->hub[strlen(pull->hub) - 1] == '/');
    if (!join(path, pull->stage, "", file->name) || !join(have, pull->place, "", file->name))
        return false;
    (void)snprintf(url, sizeof url, "%.*s/%s/resolve/%s/%s", (int)n_hub, pull->hub,
                   pull->repository, pull->revision, file->name);
    const struct download download = {.url = url,
                                      .path = path,
                                      .have = have,
                                      .max_bytes = file->max_bytes,
                                      .progress = pull->terminal ? draw : NULL,
                                      .context = pull};
    pull->file = file->name;
    pull->started_ns = clock_ns();
    pull->drawn_ns = 0;
    (void)unlink(path); /* of a pull that ended before its last file */
    switch (download_file(&download, &result, &err)) {
    case DOWNLOAD_DONE:
        tell(pull, &result, "fetched,");
        return true;
    case DOWNLOAD_SAME:
        tell(pull, &result, "here already,");
        return true;
    case DOWNLOAD_ABSENT:
        if (file->optional)
            return true;
        offline_complain("%s: there is no such file", url);
        return false;
    default:
        if (pull->terminal)
            (void)fputs("\r\033[K", stderr);
        offline_complain("%s", err.text);
        return false;
    }
}

/* ---- the model
 * ----------------------------------------------------------------------------------- */

/* Is it a model that can be served? */
static bool try_model(const struct pull *pull, char *told, size_t size)
{
    const struct rn_model_options options = {.name = pull->name, .max_batch = 1};
    struct rn_model *model = NULL;
    struct rn_error err;
    if (rn_model_open(pull->stage, &options, &model, &err) != RN_OK) {
        offline_complain("%s cannot be served and is not kept: %s", pull->repository, err.text);
        return false;
    }
    const struct rn_model_info *info = rn_model_info(model);
    (void)snprintf(told, size, "%s, %d classes", info->architecture, info->classes);
    rn_model_free(model);
    return true;
}

/* The model is at its place all at once, also over an older one. */
static bool put_in_place(const struct pull *pull)
{
    if (fsync(pull->lock) != 0)
        return complain_errno(pull->stage);
    if (rename(pull->stage, pull->place) == 0)
        return true;
    if ((errno != ENOTEMPTY && errno != EEXIST) ||
        renameat2(AT_FDCWD, pull->stage, AT_FDCWD, pull->place, RENAME_EXCHANGE) != 0)
        return complain_errno(pull->place);
    remove_folder(pull->stage); /* the older one */
    return true;
}

static enum cmd_exit pull_model(struct pull *pull)
{
    char told[128];
    if (!open_stage(pull))
        return CMD_FAILED;
    for (size_t i = 0; i < N_FILES; i++)
        if (!fetch(pull, &files[i]))
            return CMD_FAILED;
    if (!try_model(pull, told, sizeof told)) {
        remove_folder(pull->stage);
        return CMD_MODEL;
    }
    if (!put_in_place(pull))
        return CMD_FAILED;
    (void)printf("%s: %s, in %s; resnetd serve --model %s\n", pull->name, told, pull->place,
                 pull->name);
    return CMD_OK;
}

int main(int argc, char **argv, char **envp)
{
    struct pull pull = {.revision = "main", .lock = -1, .terminal = isatty(STDERR_FILENO) == 1};
    const struct flag flags[] = {
        {"model-dir", FLAG_TEXT, &pull.dir, 0, 0, "DIR", "instead of the setting model_dir"},
        {"hub", FLAG_TEXT, &pull.hub, 0, 0, "URL", "instead of the setting hub"},
        {"revision", FLAG_TEXT, &pull.revision, 0, 0, "REV", "branch, tag or commit (main)"},
        {"name", FLAG_TEXT, &pull.name, 0, 0, "NAME",
         "what to call it, without it the repository's last part"},
    };
    enum cmd_exit code;
    argc--;
    argv++;
    if (!offline_flags(usage, flags, sizeof flags / sizeof *flags, &argc, argv, &code))
        return code;
    if (argc != 1) {
        offline_complain("pull takes one repository, like timm/resnet50.a1_in1k");
        return CMD_USAGE;
    }
    struct config config;
    code = offline_settings(envp, &config);
    if (code != CMD_OK)
        return code;
    pull.repository = argv[0];
    pull.dir = pull.dir ? pull.dir : config.model_dir;
    pull.hub = pull.hub ? pull.hub : config.hub;
    if (!pull.name) {
        const char *slash = strrchr(pull.repository, '/');
        pull.name = slash ? slash + 1 : pull.repository;
    }
    if (!check_words(&pull) || !pull.hub[0] || !pull.dir[0])
        code = CMD_USAGE;
    else if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        code = CMD_FAILED;
    else
        code = pull_model(&pull);
    curl_global_cleanup();
    if (pull.lock >= 0)
        (void)close(pull.lock);
    config_done(&config);
    return code;
}
