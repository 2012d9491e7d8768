// SPDX-License-Identifier: GPL-2.0-only
/* A kernel thread that works until it is told to stop, and one that ends by itself. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/task.h>

static struct task_struct *ticker, *runner;

static int tick(void *data)
{
	int n = 0;

	pr_info("kthread: %s starts with \"%s\"\n", current->comm, (char *)data);
	while (!kthread_should_stop()) {
		pr_info("kthread: tick %d\n", ++n);
		msleep_interruptible(1000);
	}
	pr_info("kthread: stopped after %d\n", n);
	return n;
}

static int run(void *data)
{
	pr_info("kthread: %s is a child of %s and runs once\n", current->comm, current->real_parent->comm);
	return 7;
}

static int __init kthread_init(void)
{
	ticker = kthread_run(tick, "some data", "ticker/%d", 1);
	if (IS_ERR(ticker))
		return PTR_ERR(ticker);
	runner = kthread_create(run, NULL, "runner");
	if (IS_ERR(runner)) {
		kthread_stop(ticker);
		return PTR_ERR(runner);
	}
	get_task_struct(runner);
	wake_up_process(runner);
	pr_info("kthread: init is done\n");
	return 0;
}

static void __exit kthread_exit_module(void)
{
	pr_info("kthread: runner returned %d\n", kthread_stop(runner));
	put_task_struct(runner);
	pr_info("kthread: ticker returned %d\n", kthread_stop(ticker));
}

module_init(kthread_init);
module_exit(kthread_exit_module);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Kernel threads: start, sleep, stop");
MODULE_LICENSE("GPL");
