/* The JSON file with settings. Shared inside config/ only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_CONFIG_CONFIG_FILE_H
#define RESNETD_CONFIG_CONFIG_FILE_H

#include "config/config.h"

/* Sets what the file says; false with err naming file, line and key. */
bool config_file_read(const char *path, struct config *config, struct config_error *err);

#endif
