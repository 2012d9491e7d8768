/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KMOD_H
#define _LINUX_KMOD_H

/* 0 whatever came of it: look afterwards whether what you wanted is there. */
int request_module(const char *name);

#endif
