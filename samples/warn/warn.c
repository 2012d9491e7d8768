// SPDX-License-Identifier: GPL-2.0-only
/* WARN_ON reports that something impossible happened, and goes on. */
#include <linux/bug.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int __init warn_init(void)
{
	pr_info("warn: before\n");
	WARN_ON(1);
	pr_info("warn: after\n");
	return 0;
}

static void __exit warn_exit(void)
{
	pr_info("warn: goodbye\n");
}

module_init(warn_init);
module_exit(warn_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A warning with a stack trace");
