// SPDX-License-Identifier: GPL-2.0-only
/* A parameter of each type. insmod reads the types in .modinfo and writes the values into the data itself. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int irq[4] = { -1, -1, -1, -1 };
static unsigned char byte = 1;
static short half = 2;
static long wide = 3;
static char *name = "nobody";
static char label[8] = "none";

MODULE_PARM(irq, "1-4i");
MODULE_PARM_DESC(irq, "One to four interrupt lines");
MODULE_PARM(byte, "b");
MODULE_PARM(half, "h");
MODULE_PARM(wide, "l");
MODULE_PARM(name, "s");
MODULE_PARM(label, "c8");

static int __init params_init(void)
{
	printk(KERN_INFO "params: irq=%d,%d,%d,%d byte=%u half=%d wide=%ld name=%s label=%s\n", irq[0], irq[1],
	       irq[2], irq[3], byte, half, wide, name, label);
	return 0;
}

static void __exit params_exit(void)
{
}

module_init(params_init);
module_exit(params_exit);
EXPORT_NO_SYMBOLS;
MODULE_LICENSE("GPL");
