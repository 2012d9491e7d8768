// SPDX-License-Identifier: GPL-2.0-only
/* Who called whom: the kernel walks the stack, also through a function of its own that calls us back. */
#include <linux/bug.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sort.h>

static int depth = 3;
module_param(depth, int, 0444);
MODULE_PARM_DESC(depth, "how often descend() calls itself");

static bool crash;
module_param(crash, bool, 0444);
MODULE_PARM_DESC(crash, "dereference NULL at the end");

static int numbers[] = { 3, 1, 2 };

static noinline int compare(const void *a, const void *b)
{
	WARN_ON_ONCE(1);
	return *(const int *)a - *(const int *)b;
}

static noinline int descend(int left)
{
	char room[64];

	if (left > 0)
		return descend(left - 1) + snprintf(room, sizeof(room), "%d", left);
	if (crash)
		*(volatile int *)NULL = 1;
	dump_stack();
	sort(numbers, ARRAY_SIZE(numbers), sizeof(numbers[0]), compare, NULL);
	return 0;
}

static int __init backtrace_init(void)
{
	pr_info("backtrace: digits %d\n", descend(depth));
	return 0;
}

static void __exit backtrace_exit(void)
{
}

module_init(backtrace_init);
module_exit(backtrace_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Call traces through functions of a module and of the kernel");
