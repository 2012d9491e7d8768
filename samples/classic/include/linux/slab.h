/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_SLAB_H
#define _LINUX_SLAB_H

#include <linux/types.h>

#define GFP_ATOMIC	0x20
#define GFP_KERNEL	0x1f0

void *kmalloc(size_t size, int flags);
void kfree(const void *objp);

#endif
