// SPDX-License-Identifier: GPL-2.0-only
/* The classic mistake: write through a pointer that is NULL. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int *pointer;

static int __init oops_null_init(void)
{
	pr_info("oops_null: about to write to %px\n", pointer);
	*pointer = 1;
	pr_info("oops_null: never printed\n");
	return 0;
}

static void __exit oops_null_exit(void)
{
}

module_init(oops_null_init);
module_exit(oops_null_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Write through a NULL pointer");
