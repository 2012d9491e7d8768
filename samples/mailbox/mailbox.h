/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/ioctl.h>

struct mailbox_state {
	int waiting; /* bytes */
	int limit;
};

#define MAILBOX_CLEAR _IO('m', 1)
#define MAILBOX_STATE _IOR('m', 2, struct mailbox_state)
#define MAILBOX_LIMIT _IOW('m', 3, int)
