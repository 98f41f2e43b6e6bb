/* The settings: precedence of the four sources, every refusal with its sentence, the help text and
 * the shipped example. Files are made in a temporary folder; nothing is read from the environment
 * of the test run.
 *
 * SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_WORDS 40

static char path[] = "/tmp/resnetd-config-XXXXXX";
static struct config config;
static struct config_error error;
static char warnings[1024];

static void setup(void)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void teardown(void)
{
    config_done(&config);
    unlink(path);
}

TestSuite(config, .init = setup, .fini = teardown);

static void note_warning(const char *sentence)
{
    strncat(warnings, sentence, sizeof(warnings) - strlen(warnings) - 2);
    strcat(warnings, "\n");
}

static void write_bytes(const char *text, size_t n)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text, 1, n, file), n);
    cr_assert_eq(fclose(file), 0);
}

/* `flags` and `variables` are separated by blanks; "FILE" stands for the temporary file. */
static bool load(const char *flags, const char *variables)
{
    char words[2][1024], *argv[2][MAX_WORDS] = {{0}};
    int n[2] = {0, 0};
    const char *const texts[2] = {flags, variables};
    for (int k = 0; k < 2; k++) {
        snprintf(words[k], sizeof(words[k]), "%s", texts[k]);
        char *rest = words[k];
        for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " "))
            if (word[0] && n[k] < MAX_WORDS - 1)
                argv[k][n[k]++] = strcmp(word, "FILE") == 0 ? path : word;
    }
    config_done(&config);
    memset(&config, 0, sizeof(config));
    memset(&error, 0, sizeof(error));
    warnings[0] = '\0';
    return config_load(&config, n[0], argv[0], argv[1], note_warning, &error);
}

static bool load_file(const char *json)
{
    write_bytes(json, strlen(json));
    return load("--config FILE", "");
}

static void refused(bool loaded, const char *part)
{
    cr_assert(!loaded, "accepted, where an error with \"%s\" was expected", part);
    cr_assert(strstr(error.text, part), "\"%s\" lacks \"%s\"", error.text, part);
    cr_assert_null(config.listen, "the result was touched");
}

Test(config, defaults_are_those_of_the_table)
{
    cr_assert(load("", ""), "%s", error.text);
    cr_assert_str_eq(config.listen, "127.0.0.1:8080");
    cr_assert_eq(config.max_batch, 0);
    cr_assert_eq(config.max_body_bytes, 10u * 1024 * 1024);
    cr_assert_eq(config.model.n, 0);
    cr_assert_str_eq(config.access_log, "-");
}

Test(config, a_file_beats_defaults_the_environment_the_file_and_a_flag_all)
{
    const char *json = "{\"max_batch\": 2, \"top_k\": 2, \"threads\": 2}";
    write_bytes(json, strlen(json));
    cr_assert(load("--config FILE --threads 4", "RESNETD_TOP_K=3 RESNETD_THREADS=3"), "%s",
              error.text);
    cr_assert_eq(config.max_images, 16);
    cr_assert_eq(config.max_batch, 2);
    cr_assert_eq(config.top_k, 3);
    cr_assert_eq(config.threads, 4);
}

Test(config, the_file_may_be_named_by_the_environment_and_the_flag_wins)
{
    const char *json = "{\"max_batch\": 2}";
    write_bytes(json, strlen(json));
    char variable[128];
    snprintf(variable, sizeof(variable), "RESNETD_CONFIG=%s", path);
    cr_assert(load("", variable), "%s", error.text);
    cr_assert_eq(config.max_batch, 2);
    cr_assert_str_eq(warnings, "");
    cr_assert(load("--config FILE", "RESNETD_CONFIG=/does/not/exist"), "%s", error.text);
    cr_assert(load("", "RESNETD_CONFIG="), "%s", error.text);
}

Test(config, flags_take_a_value_after_an_equals_sign_or_as_the_next_word)
{
    cr_assert(load("--max-batch=3 --top-k 4 --access-log - --labels=", ""), "%s", error.text);
    cr_assert_eq(config.max_batch, 3);
    cr_assert_eq(config.top_k, 4);
    cr_assert_str_eq(config.access_log, "-");
    cr_assert_str_eq(config.labels, "");
}

Test(config, the_last_of_a_repeated_flag_counts)
{
    cr_assert(load("--max-batch=3 --max-batch=5", ""), "%s", error.text);
    cr_assert_eq(config.max_batch, 5);
}

Test(config, sizes_take_suffixes)
{
    cr_assert(load("--max-body-bytes 2M --max-decode-bytes=1g --max-pixels=512K", ""), "%s",
              error.text);
    cr_assert_eq(config.max_body_bytes, 2u << 20);
    cr_assert_eq(config.max_decode_bytes, 1u << 30);
    cr_assert_eq(config.max_pixels, 512u << 10);
    cr_assert(load_file("{\"max_body_bytes\": \"3M\", \"max_decode_bytes\": 4294967296}"), "%s",
              error.text);
    cr_assert_eq(config.max_body_bytes, 3u << 20);
    cr_assert_eq(config.max_decode_bytes, (size_t)1 << 32);
}

Test(config, a_list_is_a_repeated_flag_an_array_or_comma_separated)
{
    cr_assert(load("--model a --model=b=/c", ""), "%s", error.text);
    cr_assert_eq(config.model.n, 2);
    cr_assert_str_eq(config.model.items[1], "b=/c");
    cr_assert(load("", "RESNETD_MODEL=a,b=/c"), "%s", error.text);
    cr_assert_eq(config.model.n, 2);
    cr_assert(load_file("{\"model\": [\"a\", \"b\", \"c\"]}"), "%s", error.text);
    cr_assert_eq(config.model.n, 3);
    cr_assert(load_file("{\"model\": \"a\"}"), "%s", error.text);
    cr_assert_eq(config.model.n, 1);
}

Test(config, a_list_is_replaced_whole_by_the_next_source)
{
    const char *json = "{\"model\": [\"a\", \"b\"]}";
    write_bytes(json, strlen(json));
    cr_assert(load("--config FILE", "RESNETD_MODEL=c"), "%s", error.text);
    cr_assert_eq(config.model.n, 1);
    cr_assert(load("--config FILE --model d", "RESNETD_MODEL=c"), "%s", error.text);
    cr_assert_eq(config.model.n, 1);
    cr_assert_str_eq(config.model.items[0], "d");
    cr_assert(load("--config FILE", "RESNETD_MODEL="), "%s", error.text);
    cr_assert_eq(config.model.n, 0);
}

Test(config, an_unknown_flag_is_refused_with_the_nearest_one)
{
    refused(load("--max-bach 3", ""), "--max-bach is not a flag, did you mean --max-batch?");
    refused(load("--max_batch=3", ""), "did you mean --max-batch?");
    refused(load("--lisen :80", ""), "did you mean --listen?");
    refused(load("--queue 1", ""), "did you mean --queue-limit?");
    refused(load("--model-path x", ""), "did you mean --model?");
    refused(load("--cofnig x", ""), "did you mean --config?");
    refused(load("--xyzzy 1", ""), "--xyzzy is not a flag");
    refused(load("-l :80", ""), "-l is not a flag");
    refused(load("--", ""), "-- is not a flag");
    refused(load("photo.jpg", ""), "\"photo.jpg\" is not a flag");
}

Test(config, a_flag_without_its_value_is_refused)
{
    refused(load("--max-batch", ""), "--max-batch needs a value");
    refused(load("--labels --cpu avx2", ""), "--labels needs a value");
    refused(load("--config=", ""), "--config needs a file");
    refused(load("--model=", ""), "--model: an entry is empty");
}

Test(config, a_number_must_be_whole_and_in_range)
{
    refused(load("--max-batch eight", ""), "--max-batch: \"eight\" is not a whole number");
    refused(load("--max-batch 8x", ""), "\"8x\" is not a whole number");
    refused(load("--max-batch=", ""), "\"\" is not a whole number");
    refused(load("--max-batch=+8", ""), "\"+8\" is not a whole number");
    refused(load("--max-batch 8K", ""), "\"8K\" is not a whole number");
    refused(load("--max-batch 257", ""), "--max-batch: 257 is out of range, 0 to 256");
    refused(load("--threads=-1", ""), "-1 is out of range, 0 to 1024");
    refused(load("--max-batch 4294967297", ""), "out of range");
    refused(load("--max-batch 99999999999999999999", ""), "out of range");
    refused(load("--max-body-bytes 99999999999G", ""), "out of range");
    refused(load("--max-body-bytes=-9223372036854775808G", ""), "out of range");
    refused(load("--max-body-bytes 1.5M", ""), "K, M and G are understood");
    refused(load("--max-body-bytes 10MB", ""), "not a whole number");
    refused(load("", "RESNETD_MAX_BATCH=many"), "RESNETD_MAX_BATCH: \"many\"");
}

Test(config, a_text_must_have_its_form)
{
    refused(load("--log-level loud", ""),
            "--log-level: \"loud\" is not error, warn, info or debug");
    refused(load("--cpu AVX2", ""), "--cpu: \"AVX2\" is not");
    refused(load("--convolution slow", ""), "--convolution: \"slow\" is not fast or direct");
    refused(load("--listen 8080", ""), "--listen: \"8080\" is not HOST:PORT");
    refused(load("--listen :65536", ""), "--listen");
    refused(load("--listen ::1:80", ""), "--listen");
    refused(load("--listen unix:", ""), "--listen");
    refused(load("--cors-origin https://a.org/", ""), "without a path");
    cr_assert(load("--listen [::1]:0", ""), "%s", error.text);
    cr_assert(load("--listen :8080 --cpu avx2", ""), "%s", error.text);
    cr_assert(load("--listen unix:/run/r.sock --cors-origin *", ""), "%s", error.text);
    cr_assert(load("--cors-origin https://a.org:8443", ""), "%s", error.text);
}

Test(config, an_unknown_variable_is_only_a_warning)
{
    cr_assert(load("", "RESNETD_PORT=tcp://10.0.0.1:80 RESNETD_MAX_BACH=3 RESNETDX=1 HOME=/"));
    cr_assert(strstr(warnings, "RESNETD_PORT is not a setting, ignoring it"), "%s", warnings);
    cr_assert(strstr(warnings, "RESNETD_MAX_BACH is not a setting (RESNETD_MAX_BATCH is)"), "%s",
              warnings);
    cr_assert_null(strstr(warnings, "RESNETDX"));
    cr_assert_eq(config.max_batch, 0);
}

Test(config, very_long_names_are_cut_not_overrun)
{
    char name[700];
    memset(name, 'A', sizeof(name));
    memcpy(name, "RESNETD_", 8);
    memcpy(name + sizeof(name) - 3, "=1", 3);
    cr_assert(load("", name), "%s", error.text);
    cr_assert(strstr(warnings, "AAAA is not a setting"));
    memcpy(name, "--", 2);
    refused(load(name, ""), "--SNETD_AAAA");
}

Test(config, a_wrong_key_in_the_file_is_refused_with_line_and_nearest)
{
    refused(load_file("{\n  \"top_k\": 3,\n  \"max_bach\": 4\n}"),
            "line 3: max_bach is not a setting, did you mean max_batch?");
    refused(load_file("{\"max-batch\": 4}"), "line 1: max-batch is not a setting, did you mean "
                                             "max_batch?");
    refused(load_file("{\"xyzzy\": 4}"), "xyzzy is not a setting");
}

Test(config, a_wrong_type_or_value_in_the_file_is_refused_with_its_line)
{
    refused(load_file("{\n\"max_batch\": \"8\"}"), "line 2: max_batch: expected a whole number");
    refused(load_file("{\"max_batch\": 8.0}"), "max_batch: expected a whole number");
    refused(load_file("{\"max_batch\": true}"), "max_batch: expected a whole number");
    refused(load_file("{\"max_body_bytes\": []}"), "max_body_bytes: expected a whole number");
    refused(load_file("{\"max_body_bytes\": \"big\"}"), "max_body_bytes: \"big\"");
    refused(load_file("{\n\n\"max_batch\": 1000}"), "line 3: max_batch: 1000 is out of range");
    refused(load_file("{\"listen\": 8080}"), "listen: expected a string");
    refused(load_file("{\"labels\": null}"), "labels: expected a string");
    refused(load_file("{\"model\": {\"a\": \"b\"}}"), "model: expected an array of strings");
    refused(load_file("{\"model\": [\"a\", 1]}"), "model: entry 2 is not a string");
    refused(load_file("{\"model\": [\"\"]}"), "model: an entry is empty");
}

Test(config, a_file_that_is_not_one_json_object_is_refused)
{
    refused(load_file("{\n\"max_batch\": 8,\n}"), "line 3: ");
    refused(load_file("{\"top_k\": 1, \"top_k\": 2}"), "line 1: duplicate object key");
    refused(load_file("[]"), "expected one JSON object");
    refused(load_file("{} {}"), "line 1: ");
    refused(load_file(""), "line 1: ");
    refused(load_file("{\"max_batch\": 99999999999999999999}"), "line 1: too big integer");
    refused(load_file("{\"listen\": \"a\\u0000:80\"}"), "line 1: ");
    refused(load("--config /does/not/exist", ""), "/does/not/exist: No such file");
    refused(load("--config /tmp", ""), "/tmp: Is a directory");
}

Test(config, a_file_cut_at_any_byte_is_refused_or_read)
{
    const char *json = "{\"model\": [\"a\", \"b\"], \"max_body_bytes\": \"10M\", \"top_k\": 3} ";
    for (size_t n = 0; n < strlen(json) - 1; n++) {
        write_bytes(json, n);
        cr_assert(!load("--config FILE", ""), "accepted the first %zu bytes", n);
    }
    cr_assert(load_file(json), "%s", error.text);
}

Test(config, a_file_over_one_mebibyte_is_refused)
{
    size_t n = (1u << 20) + 1;
    char *text = malloc(n);
    cr_assert_not_null(text);
    memset(text, ' ', n);
    memcpy(text, "{}", 2);
    write_bytes(text, n - 1);
    cr_assert(load("--config FILE", ""), "%s", error.text);
    write_bytes(text, n);
    refused(load("--config FILE", ""), "larger than 1 MiB");
    free(text);
}

Test(config, too_many_models_are_refused)
{
    char flags[512] = "";
    for (int i = 0; i <= CONFIG_MAX_MODELS; i++)
        strcat(flags, "--model=a ");
    refused(load(flags, ""), "--model: more than 16 entries");
}

Test(config, no_error_and_no_warning_need_be_wanted)
{
    char flag[] = "--nope", variable[] = "RESNETD_NOPE=1";
    char *argv[] = {flag, NULL}, *envp[] = {variable, NULL};
    struct config other;
    cr_assert_not(config_load(&other, 1, argv, envp, NULL, NULL));
    cr_assert(config_load(&config, 0, argv, envp, NULL, NULL));
    config_done(NULL);
}

/* What config_print_json writes for the present config; free() it. */
static char *printed(void)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    cr_assert_not_null(out);
    config_print_json(&config, out);
    cr_assert_eq(fclose(out), 0);
    return text;
}

Test(config, the_shipped_example_is_the_defaults)
{
    cr_assert(load("", ""), "%s", error.text);
    char *defaults = printed();
    FILE *file = fopen("config/resnetd.json", "rb");
    cr_assert_not_null(file, "run the tests from the top folder");
    char shipped[8192];
    size_t n = fread(shipped, 1, sizeof(shipped) - 1, file);
    fclose(file);
    shipped[n] = '\0';
    cr_assert_str_eq(shipped, defaults);
    free(defaults);
    cr_assert(load("--config config/resnetd.json", ""), "%s", error.text);
}

Test(config, printed_json_reads_back_as_the_same)
{
    cr_assert(load("--model=a\"b --model=c\\d --labels=\x01\t --max-side 99", ""), "%s",
              error.text);
    char *first = printed();
    cr_assert(load_file(first), "%s", error.text);
    cr_assert_str_eq(config.model.items[0], "a\"b");
    cr_assert_str_eq(config.labels, "\x01\t");
    char *second = printed();
    cr_assert_str_eq(first, second);
    free(first);
    free(second);
}

Test(config, a_value_is_asked_for_by_its_key)
{
    char buf[64], small[4];
    cr_assert(load("--model=a --model=b=/c --max-body-bytes=1M", ""), "%s", error.text);
    cr_assert_str_eq(config_value(&config, "max_body_bytes", buf, sizeof(buf)), "1048576");
    cr_assert_str_eq(config_value(&config, "log_level", buf, sizeof(buf)), "info");
    cr_assert_str_eq(config_value(&config, "model", buf, sizeof(buf)), "a,b=/c");
    cr_assert_str_eq(config_value(&config, "model", small, sizeof(small)), "a,b");
    cr_assert_null(config_value(&config, "max-body-bytes", buf, sizeof(buf)));
}

Test(config, help_lists_every_flag_with_its_default_in_100_columns)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    config_print_help(out);
    fclose(out);
    cr_assert(strstr(text, "--config FILE "));
#define OPTION(key, type, def, min, max, reloadable, help)                                         \
    {                                                                                              \
        char flag[64] = "  --" #key " ";                                                           \
        for (char *p = flag; *p; p++)                                                              \
            *p = *p == '_' ? '-' : *p;                                                             \
        cr_assert(strstr(text, flag), "no %s", flag);                                              \
    }
#include "config/options.def"
#undef OPTION
    cr_assert(strstr(text, "(10M)"));
    for (char *rest = text, *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
        cr_assert_leq(strlen(line), 100, "%s", line);
    free(text);
}

Test(config, the_nearest_name_is_found_or_none)
{
    static const char *const names[] = {"serve", "classify", "inspect", "bench", "health"};
    cr_assert_str_eq(config_nearest("serv", names, 5), "serve");
    cr_assert_str_eq(config_nearest("sevre", names, 5), "serve");
    cr_assert_str_eq(config_nearest("clasify", names, 5), "classify");
    cr_assert_str_eq(config_nearest("healthcheck", names, 5), "health");
    cr_assert_null(config_nearest("xyzzy", names, 5));
    cr_assert_null(config_nearest("", names, 5));
    cr_assert_null(config_nearest("a", names, 5));
}
