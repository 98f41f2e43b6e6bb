/* The files that a command line means: folders are walked, everything regular in them is taken.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_FILES_H
#define RESNETD_SERVER_CMD_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* Starts as {0}; paths as given or walked, in the order of the command line, folders by name. */
struct files {
    char **paths; /* owned, as is each */
    size_t n, room;
};

/* Adds a file, "-", or what is in a folder and its folders (symbolic links inside are not
 * followed). What does not exist or cannot be walked is added as it is, for its reader to fail on.
 * False when out of memory. */
bool files_add(struct files *files, const char *path);
void files_done(struct files *files);

#endif
