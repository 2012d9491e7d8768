// SPDX-License-Identifier: GPL-2.0-only
/*
 * hello once more, compiled with symbol versions: it asks for printk_R1b7d4074.
 *
 * CFLAGS: -DMODVERSIONS -include linux/modversions.h
 */
#include <linux/kernel.h>
#include <linux/module.h>

int init_module(void)
{
	printk(KERN_INFO "Hello world, whatever your version is!\n");
	return 0;
}

void cleanup_module(void)
{
}

EXPORT_NO_SYMBOLS;
MODULE_LICENSE("GPL");
