// SPDX-License-Identifier: GPL-2.0-only
/* A module that has the kernel fetch a device's driver, by the alias that kmod makes of its number. */
#include <linux/kernel.h>
#include <linux/kmod.h>
#include <linux/module.h>

static char *wanted = "chardev";
MODULE_PARM(wanted, "s");

int init_module(void)
{
	int result = request_module(wanted);

	printk(KERN_INFO "needs: request_module(\"%s\") returned %d\n", wanted, result);
	return 0;
}

EXPORT_NO_SYMBOLS;
MODULE_LICENSE("GPL");
