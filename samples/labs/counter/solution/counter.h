/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#include <linux/ioctl.h>

#define COUNTER_ADD _IOW('k', 1, int)
#define COUNTER_GET _IOR('k', 2, int)
#define COUNTER_RESET _IO('k', 3)
