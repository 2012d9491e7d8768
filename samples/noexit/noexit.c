// SPDX-License-Identifier: GPL-2.0-only
/* An init but no exit: once loaded, it stays. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int __init noexit_init(void)
{
	pr_info("noexit: here to stay\n");
	return 0;
}

module_init(noexit_init);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A module without exit");
