/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_TYPES_H
#define _LINUX_TYPES_H

#define NULL ((void *)0)

typedef unsigned long size_t;
typedef long ssize_t;
typedef long long loff_t;
typedef unsigned short kdev_t;
typedef unsigned short umode_t;

#endif
