/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_VERSION_H
#define _LINUX_VERSION_H

#define UTS_RELEASE "2.4.32"
#define LINUX_VERSION_CODE 132128
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))

#endif
