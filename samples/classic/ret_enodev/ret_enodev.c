// SPDX-License-Identifier: GPL-2.0-only
/* An init that fails: insmod removes what is left. The parameter says what it returns. */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int result = -ENODEV;
MODULE_PARM(result, "i");

int init_module(void)
{
	printk(KERN_INFO "ret_enodev: returning %d\n", result);
	return result;
}

void cleanup_module(void)
{
	printk(KERN_INFO "ret_enodev: never printed\n");
}

EXPORT_NO_SYMBOLS;
MODULE_LICENSE("GPL");
