// SPDX-License-Identifier: GPL-2.0-only
/* Bug: a NUL behind a buffer that is full, and a byte in front of one. With fixed=1 both are inside. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

#define SIZE 64

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "stay inside");

static char *first, *second;

static int __init edges_init(void)
{
	int end = fixed ? SIZE - 1 : SIZE, start = fixed ? 0 : -1;

	first = kmalloc(SIZE, GFP_KERNEL);
	second = kmalloc(SIZE, GFP_KERNEL);
	if (!first || !second) {
		kfree(first);
		kfree(second);
		return -ENOMEM;
	}
	OPTIMIZER_HIDE_VAR(end);
	OPTIMIZER_HIDE_VAR(start);
	second[end] = 0;
	second[start] = 0;
	return 0;
}

static void __exit edges_exit(void)
{
	kfree(first);
	kfree(second);
}

module_init(edges_init);
module_exit(edges_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: one byte too far, in both directions");
MODULE_LICENSE("GPL");
