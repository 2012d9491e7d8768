// SPDX-License-Identifier: GPL-2.0-only
/* What a module's code finds in the machine: current, per-CPU variables, jump labels, fixups, the heap. */
#include <linux/jump_label.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

static DEFINE_PER_CPU(long, counter) = 40;
static DEFINE_STATIC_KEY_FALSE(off);
static DEFINE_STATIC_KEY_TRUE(on);
static int after_init __ro_after_init = 5;
static int warn;
module_param(warn, int, 0444);

static noinline int bad_pointer(void)
{
	int value;

	return get_user(value, (int __user *)8);
}

static int __init machine_init(void)
{
	char *memory = kmalloc(100, GFP_KERNEL);
	long here;

	if (!memory)
		return -ENOMEM;
	this_cpu_add(counter, 2);
	here = *per_cpu_ptr(&counter, 0);
	scnprintf(memory, 100, "%s %d", current->comm, current->pid > 0);
	pr_info("machine: %s counter %ld %ld", memory, this_cpu_read(counter), here);
	kfree(memory);
	pr_cont(" branches %d %d", !!static_branch_unlikely(&off), !!static_branch_likely(&on));
	pr_cont(" fault %d preempt %d\n", bad_pointer(), preempt_count());
	WARN(warn, "machine: %d\n", warn);
	return 0;
}

static void __exit machine_exit(void)
{
	pr_info("machine: gone %d\n", after_init);
}

module_init(machine_init);
module_exit(machine_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Look at the machine from inside");
