/* A temporary folder for one test: made empty, filled with files, removed with all that is in it.
 *
 * One folder per process at a time, which is what Criterion's one process per test needs:
 * TestSuite(x, .init = folder_make, .fini = folder_remove). Failures fail the test.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_FOLDER_H
#define RESNETD_TESTS_SUPPORT_FOLDER_H

#include <stddef.h>

void folder_make(void);
void folder_remove(void);

/* Its absolute path, and that of a file in it; the latter valid until the next call. */
const char *folder_path(void);
const char *folder_file(const char *name);

/* Writes a file into it, replacing what was there. */
void folder_write(const char *name, const void *bytes, size_t n);
void folder_write_text(const char *name, const char *text);

#endif
