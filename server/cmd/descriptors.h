/* Connections must leave descriptors for everything else.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_DESCRIPTORS_H
#define RESNETD_SERVER_CMD_DESCRIPTORS_H

/* Connections of operators, which are not counted among those that max_connections allows. */
#define DESCRIPTORS_OPERATORS 16

struct config;

/* Raises the limit on open files as far as max_connections wants, and lowers max_connections (with
 * a warning) where that is not far enough: so that a model can be loaded, a helper replaced and an
 * operator answered however many clients come. */
void descriptors_fit(struct config *config, int n_decoders);

#endif
