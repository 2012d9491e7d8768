// SPDX-License-Identifier: GPL-2.0-only
/* A module that says nothing about what it exports: insmod then exports all that is not static. */
#include <linux/kernel.h>
#include <linux/module.h>

int spoken = 42;
static int silent = 7;

int init_module(void)
{
	printk(KERN_INFO "exports: %d, %d\n", spoken, silent);
	return 0;
}

void cleanup_module(void)
{
	silent++;
}

MODULE_LICENSE("GPL");
