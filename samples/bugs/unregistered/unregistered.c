// SPDX-License-Identifier: GPL-2.0-only
/* Bug: exit unregisters twice what init registered once. With fixed=1 it does so once. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "unregister once");

static dev_t number;

static int __init unregistered_init(void)
{
	return alloc_chrdev_region(&number, 0, 4, "unregistered");
}

static void __exit unregistered_exit(void)
{
	unregister_chrdev_region(number, 4);
	if (!fixed)
		unregister_chrdev_region(number, 4);
}

module_init(unregistered_init);
module_exit(unregistered_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: something unregistered twice");
MODULE_LICENSE("GPL");
