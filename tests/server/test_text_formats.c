/* Small codecs of the server: base64, JSON text, PNG; each against something that we did not
 * write.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "server/base64.h"
#include "server/png.h"
#include "server/text.h"
#include "tests/support_random.h"

/* ---- base64 ---------------------------------------------------------------------------------- */

static bool decodes(const char *text, const char *want, size_t n_want)
{
    uint8_t out[256];
    size_t n = 0;
    struct rn_error err = {0};
    cr_assert_leq(base64_bound(strlen(text)), sizeof out);
    if (base64_decode(text, strlen(text), out, &n, &err) != RN_OK) {
        cr_assert_neq(err.text[0], '\0', "an error without a sentence");
        return false;
    }
    return n == n_want && memcmp(out, want, n) == 0;
}

Test(base64, decodes_the_vectors_of_rfc_4648)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"Zg==", "f"},
                                             {"Zm8=", "fo"},
                                             {"Zm9v", "foo"},
                                             {"Zm9vYg==", "foob"},
                                             {"Zm9vYmE=", "fooba"},
                                             {"Zm9vYmFy", "foobar"},
                                             {"Zm9v\r\nYmFy\n", "foobar"},
                                             {"+/+/", "\xfb\xff\xbf"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        cr_assert(decodes(vectors[i][0], vectors[i][1], strlen(vectors[i][1])), "%s",
                  vectors[i][0]);
}

Test(base64, refuses_everything_else)
{
    static const char *const bad[] = {"Z",
                                      "Zg",
                                      "Zg=",
                                      "Zm9",
                                      "=",
                                      "====",
                                      "Zg==Zg==",
                                      "Zh==",
                                      "Zm9=",
                                      "Zm-_",
                                      "Zm9v!",
                                      "Zg=\0=",
                                      "Zm\x80"
                                      "9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(decodes(bad[i], "", 0), "%s", bad[i]);
    for (int c = 1; c < 256; c++) {
        char text[] = "Zm9v";
        text[2] = (char)c;
        const bool in_alphabet = c == '+' || c == '/' || (c >= '0' && c <= '9') ||
                                 (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        uint8_t out[8];
        size_t n;
        cr_assert_eq(base64_decode(text, 4, out, &n, NULL) == RN_OK, in_alphabet, "%d", c);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

Test(text, strings_come_back_from_a_json_parser)
{
    static const char *const strings[] = {
        "", "plain", "\"quoted\" \\ back/slash", "\b\f\n\r\t\x01\x1f\x7f", "ä€𝄞", "</script>"};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        struct text out = {0};
        size_t n;
        text_json(&out, strings[i]);
        char *json = text_take(&out, &n);
        json_t *back = json_loadb(json, n, JSON_DECODE_ANY, NULL);
        cr_assert_not_null(back, "%s", json);
        cr_assert_str_eq(json_string_value(back), strings[i]);
        json_decref(back);
        free(json);
    }
}

Test(text, bytes_that_are_no_utf_8_become_replacement_characters)
{
    /* Lone continuation, overlong '/', surrogate, above U+10FFFF, cut off. */
    static const char *const strings[] = {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                          "a\xe2\x82"};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        struct text out = {0};
        size_t n;
        text_json(&out, strings[i]);
        char *json = text_take(&out, &n);
        json_t *back = json_loadb(json, n, JSON_DECODE_ANY, NULL);
        cr_assert_not_null(back, "%zu: not valid", i);
        cr_assert(strstr(json_string_value(back), "\xEF\xBF\xBD"), "%zu", i);
        json_decref(back);
        free(json);
    }
}

Test(text, numbers_that_json_has_no_word_for_become_null)
{
    struct text out = {0};
    size_t n;
    text_real(&out, NAN, 3);
    text_add(&out, " ");
    text_real(&out, INFINITY, 3);
    text_add(&out, " ");
    text_real(&out, 1.0 / 3, 3);
    char *json = text_take(&out, &n);
    cr_assert_str_eq(json, "null null 0.333");
    free(json);
}

Test(text, tells_visible_characters_from_others)
{
    static const struct {
        const char *s;
        size_t n;
    } cases[] = {{"a", 1},
                 {"\"", 1},
                 {"\xc3\xa9", 2},
                 {"\xe2\x82\xac", 3},
                 {"\xf0\x9f\x98\x80", 4},
                 {"", 0},
                 {"\n", 0},
                 {"\x1b[31m", 0},
                 {"\x7f", 0},
                 {"\xc2\x9b", 0}, /* ESC [ in one, for some terminals */
                 {"\x9b", 0},
                 {"\xc0\xaf", 0},
                 {"\xed\xa0\x80", 0},
                 {"\xe2\x82", 0}}; /* cut off */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(text_visible(cases[i].s), cases[i].n, "case %zu", i);
}

/* ---- PNG ------------------------------------------------------------------------------------- */

Test(png, decodes_to_the_pixels_it_was_made_of)
{
    static uint8_t rgb[3 * 37 * 23];
    uint64_t seed = 5;
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)random_below(&seed, 256);
    size_t n;
    char *png = png_encode(rgb, 37, 23, &n);
    cr_assert_not_null(png);
    struct rn_image image;
    struct rn_error err;
    cr_assert_eq(rn_image_decode((const uint8_t *)png, n, &rn_image_limits_default, &image, &err),
                 RN_OK, "%s", err.text);
    cr_assert(image.info.width == 37 && image.info.height == 23);
    cr_assert_arr_eq(image.rgb, rgb, sizeof rgb);
    rn_image_done(&image);
    free(png);
}
