// SPDX-License-Identifier: GPL-2.0-only
/* Completions: a crank waits for two machines to be ready. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>

static DECLARE_COMPLETION(crankshaft);
static struct completion flywheel;

static int spin_flywheel(void *data)
{
	wait_for_completion(&crankshaft);
	pr_info("completion: the flywheel spins up\n");
	complete_all(&flywheel);
	return 0;
}

static int turn_crankshaft(void *data)
{
	msleep(100);
	pr_info("completion: the crankshaft turns\n");
	complete(&crankshaft);
	return 0;
}

static int __init completion_init(void)
{
	init_completion(&flywheel);
	kthread_run(spin_flywheel, NULL, "flywheel");
	kthread_run(turn_crankshaft, NULL, "crankshaft");
	pr_info("completion: too early: %lu\n", wait_for_completion_timeout(&flywheel, 2));
	wait_for_completion(&flywheel);
	wait_for_completion(&flywheel);
	pr_info("completion: running, for all and for ever: %d %d\n", completion_done(&flywheel),
		try_wait_for_completion(&flywheel));
	return 0;
}

static void __exit completion_exit(void)
{
	reinit_completion(&flywheel);
	pr_info("completion: and again: %d\n", try_wait_for_completion(&flywheel));
}

module_init(completion_init);
module_exit(completion_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Waiting until something is done");
MODULE_LICENSE("GPL");
