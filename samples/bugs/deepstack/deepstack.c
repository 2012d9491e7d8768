// SPDX-License-Identifier: GPL-2.0-only
/* Bug: a function calls itself until the stack is used up. With fixed=1 it knows when to end. */
#include <linux/init.h>
#include <linux/module.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "end after a few calls");

static noinline unsigned int sum(unsigned int depth)
{
	volatile unsigned int room[64];

	room[depth % 64] = depth;
	if (!depth)
		return 0;
	return sum(depth - 1) + room[depth % 64];
}

static int __init deepstack_init(void)
{
	pr_info("deepstack: the sum is %u\n", sum(fixed ? 10 : 1000));
	return 0;
}

static void __exit deepstack_exit(void)
{
}

module_init(deepstack_init);
module_exit(deepstack_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: the kernel stack is used up");
MODULE_LICENSE("GPL");
