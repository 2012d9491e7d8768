// SPDX-License-Identifier: GPL-2.0-only
/* What a driver returns whose device is not there. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int __init ret_enodev_init(void)
{
	pr_info("ret_enodev: init runs and returns -ENODEV\n");
	return -ENODEV;
}

static void __exit ret_enodev_exit(void)
{
	pr_info("ret_enodev: exit runs\n");
}

module_init(ret_enodev_init);
module_exit(ret_enodev_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("An init that returns -ENODEV");
