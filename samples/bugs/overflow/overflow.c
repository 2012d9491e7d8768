// SPDX-License-Identifier: GPL-2.0-only
/* Bug: a loop that goes one too far in a heap object. With fixed=1 it does not. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

#define COUNT 52

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "stop in time");

static u16 *squares;

static int __init overflow_init(void)
{
	int i, end = fixed ? COUNT - 1 : COUNT;

	squares = kmalloc_array(COUNT, sizeof(*squares), GFP_KERNEL);
	if (!squares)
		return -ENOMEM;
	for (i = 0; i <= end; i++)
		squares[i] = i * i;
	return 0;
}

static void __exit overflow_exit(void)
{
	kfree(squares);
}

module_init(overflow_init);
module_exit(overflow_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: a write behind a heap object");
MODULE_LICENSE("GPL");
