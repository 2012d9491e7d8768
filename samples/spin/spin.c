// SPDX-License-Identifier: GPL-2.0-only
/* An init that never returns, and never lets anything else run. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/processor.h>

static int __init spin_init(void)
{
	pr_info("spin: going round and round\n");
	for (;;)
		cpu_relax();
	return 0;
}

static void __exit spin_exit(void)
{
}

module_init(spin_init);
module_exit(spin_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("An init that never returns");
