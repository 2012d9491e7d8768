// SPDX-License-Identifier: GPL-2.0-only
/* A positive return is against the convention; Linux complains and loads the module. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int __init ret_plus5_init(void)
{
	pr_info("ret_plus5: init runs and returns 5\n");
	return 5;
}

static void __exit ret_plus5_exit(void)
{
	pr_info("ret_plus5: exit runs\n");
}

module_init(ret_plus5_init);
module_exit(ret_plus5_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("An init that returns +5");
