/* The names of ImageNet-1k's classes, in class order. Read-only data.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_LOAD_IMAGENET_LABELS_H
#define RESNETD_ENGINE_LOAD_IMAGENET_LABELS_H

#define IMAGENET_CLASSES 1000

extern const char *const imagenet_labels[IMAGENET_CLASSES];

#endif
