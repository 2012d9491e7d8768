// SPDX-License-Identifier: GPL-2.0-only
/* The source is ret1.c; the Makefile makes of it a module called ownname. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int __init ret1_init(void)
{
	pr_info("%s: made from ret1.c\n", THIS_MODULE->name);
	return 0;
}

static void __exit ret1_exit(void)
{
	pr_info("%s: goodbye\n", THIS_MODULE->name);
}

module_init(ret1_init);
module_exit(ret1_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A module whose name is not its source file's name");
