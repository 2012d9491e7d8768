// SPDX-License-Identifier: GPL-2.0-only
/* The first module, as one wrote it for Linux 2.4. init_module here is a function; the system call is another. */
#include <linux/kernel.h>
#include <linux/module.h>

int init_module(void)
{
	printk(KERN_INFO "Hello world!\n");
	return 0;
}

void cleanup_module(void)
{
	printk(KERN_INFO "Cleaning up module.\n");
}

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Say hello and goodbye");
EXPORT_NO_SYMBOLS;
