// SPDX-License-Identifier: GPL-2.0-only
/* Waiting in a loop: for another thread, for a timer, for jiffies, for the clock. */
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/timer.h>

static int turn, fired;
static struct timer_list timer;

static int pong(void *data)
{
	int i;

	for (i = 0; i < 3; i++) {
		while (READ_ONCE(turn) != 1)
			cpu_relax();
		pr_info("spinwait: pong\n");
		WRITE_ONCE(turn, 0);
	}
	while (!kthread_should_stop())
		cpu_relax();
	return 0;
}

static void fire(struct timer_list *t)
{
	WRITE_ONCE(fired, 1);
}

static struct task_struct *thread;

static int __init spinwait_init(void)
{
	unsigned long start = jiffies;
	ktime_t before;
	int i;

	thread = kthread_run(pong, NULL, "pong");
	for (i = 0; i < 3; i++) {
		pr_info("spinwait: ping\n");
		WRITE_ONCE(turn, 1);
		while (READ_ONCE(turn) != 0)
			cpu_relax();
	}
	timer_setup(&timer, fire, 0);
	mod_timer(&timer, jiffies + 5);
	while (!READ_ONCE(fired))
		cpu_relax();
	pr_info("spinwait: the timer fired while we looked: %d\n", time_after(jiffies, start));

	start = jiffies;
	while (time_before(jiffies, start + 10))
		cpu_relax();
	pr_info("spinwait: %lu jiffies went by\n", jiffies - start);

	before = ktime_get();
	while (ktime_ms_delta(ktime_get(), before) < 100)
		cpu_relax();
	pr_info("spinwait: %lld ms went by\n", ktime_ms_delta(ktime_get(), before));
	return 0;
}

static void __exit spinwait_exit(void)
{
	pr_info("spinwait: the thread returned %d\n", kthread_stop(thread));
}

module_init(spinwait_init);
module_exit(spinwait_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Busy waiting");
MODULE_LICENSE("GPL");
