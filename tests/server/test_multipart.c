/* Forms as curl, browsers and libraries send them, every truncation of one, and nonsense.
 *
 * SPDX-License-Identifier: MIT */
#include "server/multipart.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE "multipart/form-data; boundary=XX"

/* Parts of a form, up to four; their number, or -1 with the error. */
static int parse(const char *type, const void *body, size_t n, struct multipart_part parts[4],
                 struct rn_error *err)
{
    struct multipart form;
    int n_parts = 0;
    bool more = true;
    if (multipart_init(&form, type, body, n, err) != RN_OK)
        return -1;
    for (;;) {
        struct multipart_part part;
        if (multipart_next(&form, &part, &more, err) != RN_OK)
            return -1;
        if (!more)
            return n_parts;
        cr_assert_lt(n_parts, 4);
        parts[n_parts++] = part;
    }
}

static int parse_text(const char *type, const char *body, struct multipart_part parts[4])
{
    struct rn_error err = {0};
    return parse(type, body, strlen(body), parts, &err);
}

static void holds(const struct multipart_part *part, const char *bytes)
{
    cr_assert_eq(part->n_bytes, strlen(bytes));
    cr_assert_arr_eq(part->bytes, bytes, strlen(bytes));
}

Test(multipart, reads_files_and_fields)
{
    struct multipart_part parts[4];
    cr_assert_eq(parse_text(TYPE,
                            "--XX\r\nContent-Disposition: form-data; name=\"image\"; "
                            "filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\nJ\r\n-PEG\r\n"
                            "--XX\r\nContent-Disposition: form-data; name=\"top_k\"\r\n\r\n3\r\n"
                            "--XX--\r\n",
                            parts),
                 2);
    cr_assert_str_eq(parts[0].name, "image");
    cr_assert_str_eq(parts[0].filename, "a.jpg");
    cr_assert_str_eq(parts[0].type, "image/jpeg");
    cr_assert(parts[0].is_file);
    holds(&parts[0], "J\r\n-PEG");
    cr_assert_str_eq(parts[1].name, "top_k");
    cr_assert_not(parts[1].is_file);
    holds(&parts[1], "3");
}

Test(multipart, reads_what_the_standards_allow)
{
    static const struct {
        const char *type, *body, *filename, *bytes;
    } forms[] = {
        {"multipart/form-data; boundary=\"X X\"",
         "--X X\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\nb\r\n--X X--", "g",
         "b"},
        {"Multipart/Form-Data; charset=utf-8; Boundary=XX",
         "--XX\r\ncontent-disposition: FORM-DATA; NAME=\"f\"; FILENAME=\"g\"\r\n\r\nb\r\n--XX--",
         "g", "b"},
        {TYPE, /* preamble, blanks after the boundary, epilogue (RFC 2046, 5.1.1) */
         "hello\r\n--XX  \r\nContent-Disposition: form-data; name=\"f\"; "
         "filename=\"g\"\r\n\r\nb\r\n"
         "--XX--\r\nbye",
         "g", "b"},
        {TYPE,
         "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\"\r\n\r\n\r\n--XX--", "",
         ""},
        {TYPE, /* as browsers write a quote in a name */
         "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a%22b.jpg\"\r\n\r\nb\r\n"
         "--XX--",
         "a\"b.jpg", "b"},
        {TYPE, /* as curl does */
         "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\\\"b.jpg\"\r\n\r\nb\r\n"
         "--XX--",
         "a\"b.jpg", "b"},
        {TYPE, /* RFC 5987, before or after the name for those who do not know it */
         "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename*=UTF-8'de'K%c3%a4tzchen%20"
         "%2e; filename=\"K_tzchen\"\r\n\r\nb\r\n--XX--",
         "K\xc3\xa4tzchen .", "b"},
        {TYPE,
         "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"K_tzchen\"; "
         "filename*=UTF-8''K%C3%A4tzchen\r\n\r\nb\r\n--XX--",
         "K\xc3\xa4tzchen", "b"},
        {TYPE, /* no quotes, no hexadecimal, no end of a text */
         "--XX\r\nContent-Disposition: form-data; name=\"f\"; "
         "filename*=a%4x%g0%00%4\r\n\r\nb\r\n--XX--",
         "a%4x%g0%00%4", "b"},
        {TYPE, /* the boundary's beginning is no boundary */
         "--XX\r\nContent-Disposition: form-data; name=\"f\"; "
         "filename=\"g\"\r\n\r\n\r\n--X\r\n--\r\n"
         "--XX--",
         "g", "\r\n--X\r\n--"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct multipart_part parts[4];
        cr_assert_eq(parse_text(forms[i].type, forms[i].body, parts), 1, "%zu", i);
        cr_assert(parts[0].is_file, "%zu", i);
        cr_assert_str_eq(parts[0].name, "f", "%zu", i);
        cr_assert_str_eq(parts[0].filename, forms[i].filename, "%zu", i);
        holds(&parts[0], forms[i].bytes);
    }
}

Test(multipart, keeps_zeros_in_files)
{
    static const char body[] = "--XX\r\nContent-Disposition: form-data; name=\"f\"; "
                               "filename=\"g\"\r\n\r\na\0b\r\n--XX--";
    struct multipart_part parts[4];
    struct rn_error err;
    cr_assert_eq(parse(TYPE, body, sizeof body - 1, parts, &err), 1);
    cr_assert_eq(parts[0].n_bytes, 3);
    cr_assert_arr_eq(parts[0].bytes, "a\0b", 3);
}

Test(multipart, refuses_what_is_no_form)
{
    static const struct {
        const char *type, *body;
    } forms[] = {
        {"multipart/form-data", "--XX\r\n\r\n\r\n--XX--"},
        {"multipart/form-data; boundary=", "--\r\n\r\n\r\n----"},
        {"multipart/form-data; "
         "boundary=a23456789012345678901234567890123456789012345678901234567890"
         "12345678901",
         ""},
        {TYPE, ""},
        {TYPE, "no boundary"},
        {TYPE, "--XX\r\nno end of the header"},
        {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nno end"},
        {TYPE, "--XX\r\nX-Y: no disposition\r\n\r\nb\r\n--XX--"},
        {TYPE, "--XX\r\nno header\r\n\r\nb\r\n--XX--"},
        {TYPE, "--XXno line\r\n\r\nb\r\n--XX--"},
        {TYPE, "--XX\r\nContent-Disposition: attachment; name=\"f\"\r\n\r\nb\r\n--XX--"},
        {TYPE, "--XX\r\nContent-Disposition: form-data; filename=\"f\"\r\n\r\nb\r\n--XX--"},
        {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"f\r\n\r\nb\r\n--XX--"},
        {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"f\"\r\n"
               "Content-Disposition: form-data; name=\"g\"\r\n\r\nb\r\n--XX--"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct multipart_part parts[4];
        struct rn_error err = {0};
        cr_assert_eq(parse(forms[i].type, forms[i].body, strlen(forms[i].body), parts, &err), -1,
                     "%zu: %s", i, forms[i].body);
        cr_assert_neq(err.text[0], '\0', "%zu", i);
    }
}

Test(multipart, cuts_long_names_where_a_character_begins)
{
    struct multipart_part parts[4];
    char form[1024], name[512] = "", *end = name;
    for (int i = 0; i < 100; i++)
        end = stpcpy(end, "\xe2\x82\xac"); /* 3 bytes each, of which the field has 255 and 63 */
    (void)snprintf(form, sizeof form,
                   "--XX\r\nContent-Disposition: form-data; name=\"xx%s\"; filename=\"xx%s\""
                   "\r\n\r\nb\r\n--XX--",
                   name, name);
    cr_assert_eq(parse_text(TYPE, form, parts), 1);
    cr_assert_eq(strlen(parts[0].name), 2 + 60);
    cr_assert_eq(strlen(parts[0].filename), 2 + 252);
    cr_assert_eq(strncmp(parts[0].filename + 2, name, 252), 0);
}

Test(multipart, a_parts_header_has_a_largest_size)
{
    static const char start[] = "--XX\r\nContent-Disposition: form-data; name=\"f\"\r\nX-Y: ";
    struct multipart_part parts[4];
    char *form = malloc(2 * MULTIPART_MAX_HEADER);
    for (int more = 0; more < 2; more++) {
        const size_t n_header = sizeof start - 1 - strlen("--XX\r\n");
        const int n = MULTIPART_MAX_HEADER - (int)n_header - 2 + more; /* and its own CR LF */
        (void)snprintf(form, (size_t)2 * MULTIPART_MAX_HEADER, "%s%0*d\r\n\r\nb\r\n--XX--", start,
                       n, 0);
        cr_assert_eq(parse_text(TYPE, form, parts), more ? -1 : 1, "%d", more);
    }
    free(form);
}

Test(multipart, no_truncation_gives_a_part_that_was_not_there)
{
    static const char body[] =
        "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"g\"\r\n\r\nbytes\r\n"
        "--XX\r\nContent-Disposition: form-data; name=\"h\"\r\n\r\n1\r\n--XX--\r\n";
    const size_t whole = sizeof body - 1;
    for (size_t n = 0; n < whole; n++) {
        char *exact = malloc(n + 1); /* so that AddressSanitizer sees a read beyond */
        struct multipart_part parts[4];
        struct rn_error err = {0};
        cr_assert_not_null(exact);
        memcpy(exact, body, n);
        exact = realloc(exact, n > 0 ? n : 1);
        const int n_parts = parse(TYPE, exact, n, parts, &err);
        cr_assert(n_parts == -1 || (n_parts == 2 && n >= whole - 2), "%zu bytes: %d parts", n,
                  n_parts);
        free(exact);
    }
}
