// SPDX-License-Identifier: GPL-2.0-only
/* A kernel thread is parked, unparked and stopped; it never gets to run if it is stopped before that. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>

static struct task_struct *thread;

static int work(void *data)
{
	while (!kthread_should_stop()) {
		if (kthread_should_park()) {
			pr_info("park: the thread parks\n");
			kthread_parkme();
			pr_info("park: the thread goes on\n");
			continue;
		}
		schedule_timeout_interruptible(HZ / 10);
	}
	return 0;
}

static int never(void *data)
{
	pr_info("park: this is not printed\n");
	return 0;
}

static int __init park_init(void)
{
	struct task_struct *other = kthread_create(never, NULL, "never");

	if (IS_ERR(other))
		return PTR_ERR(other);
	pr_info("park: a thread that was never woken answers %d\n", kthread_stop(other));

	thread = kthread_run(work, NULL, "parker");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	msleep(50);
	pr_info("park: kthread_park %d\n", kthread_park(thread));
	msleep(50);
	kthread_unpark(thread);
	msleep(50);
	return 0;
}

static void __exit park_exit(void)
{
	pr_info("park: kthread_stop %d\n", kthread_stop(thread));
}

module_init(park_init);
module_exit(park_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Parking a kernel thread");
MODULE_LICENSE("GPL");
