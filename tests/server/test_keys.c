/* Files of API keys. The digest is that of "abc" (FIPS 180-2, appendix B.1).
 *
 * SPDX-License-Identifier: MIT */
#include "server/keys.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support_folder.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

TestSuite(keys, .init = folder_make, .fini = folder_remove);

static enum rn_status open_text(const char *text, struct keys **keys, struct rn_error *err)
{
    folder_write_text("keys", text);
    return keys_open(folder_file("keys"), keys, err);
}

Test(keys, know_the_keys_of_the_file_and_no_others)
{
    struct keys *keys;
    struct rn_error err;
    cr_assert_eq(
        open_text("# who\n\nweb " ABC "\r\n"
                  "batch  E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
                  &keys, &err),
        RN_OK, "%s", err.text);
    cr_expect(keys_have(keys, "abc"));
    cr_expect(keys_have(keys, "")); /* the second digest */
    cr_expect_not(keys_have(keys, "abd"));
    cr_expect_not(keys_have(keys, ABC));
    keys_free(keys);
}

Test(keys, refuse_a_file_that_would_not_do_what_it_seems_to)
{
    static const char *const wrong[] = {
        "", "# nobody\n", "web\n", "web " ABC "0\n", "web abc\n", "web " ABC " more\n", ABC "\n"};
    struct keys *keys = NULL;
    struct rn_error err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_eq(open_text(wrong[i], &keys, &err), RN_BAD_ARGUMENT, "%s", wrong[i]);
        cr_expect(strstr(err.text, "keys"), "%s", err.text);
    }
    cr_expect_eq(keys_open(folder_file("nothing"), &keys, &err), RN_IO);
    cr_expect_null(keys);
}
