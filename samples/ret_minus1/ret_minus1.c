// SPDX-License-Identifier: GPL-2.0-only
/* init prints its line, and refuses: -1 is -EPERM. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int __init ret_minus1_init(void)
{
	pr_info("ret_minus1: init runs and returns -1\n");
	return -1;
}

static void __exit ret_minus1_exit(void)
{
	pr_info("ret_minus1: exit runs\n");
}

module_init(ret_minus1_init);
module_exit(ret_minus1_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("An init that returns -1");
