// SPDX-License-Identifier: GPL-2.0-only
/* Bug: exit frees what init has freed. With fixed=1 the pointer is NULL then. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "forget the pointer");

static char *buffer;

static noinline void drop(void)
{
	kfree(buffer);
	if (fixed)
		buffer = NULL;
}

static int __init doublefree_init(void)
{
	buffer = kmalloc(40, GFP_KERNEL);
	drop();
	return 0;
}

static void __exit doublefree_exit(void)
{
	drop();
}

module_init(doublefree_init);
module_exit(doublefree_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: memory that is freed twice");
MODULE_LICENSE("GPL");
