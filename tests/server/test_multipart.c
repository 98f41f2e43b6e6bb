/* Forms as curl, browsers and libraries send them, every truncation of one, and nonsense.
 *
 * SPDX-License-Identifier: MIT */
#include "server/multipart.h"

#include <criterion/criterion.h>
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
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct multipart_part parts[4];
        struct rn_error err = {0};
        cr_assert_eq(parse(forms[i].type, forms[i].body, strlen(forms[i].body), parts, &err), -1,
                     "%zu: %s", i, forms[i].body);
        cr_assert_neq(err.text[0], '\0', "%zu", i);
    }
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
