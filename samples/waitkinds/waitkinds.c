// SPDX-License-Identifier: GPL-2.0-only
/* Waiting in other ways: simple queues, bits, one waiter at a time, signals to kernel threads. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/swait.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>

static DECLARE_SWAIT_QUEUE_HEAD(simple);
static DECLARE_WAIT_QUEUE_HEAD(door);
static unsigned long bits;
static int ready;

static int simple_waiter(void *unused)
{
	swait_event_exclusive(simple, READ_ONCE(ready));
	pr_info("waitkinds: the simple wait is over\n");
	return 0;
}

static int bit_waiter(void *unused)
{
	int err = wait_on_bit(&bits, 3, TASK_UNINTERRUPTIBLE);

	pr_info("waitkinds: bit 3 is clear (%d)\n", err);
	err = wait_on_bit_timeout(&bits, 4, TASK_INTERRUPTIBLE, 5);
	pr_info("waitkinds: bit 4 stays set (%d)\n", err);
	return 0;
}

static int visitor(void *number)
{
	DEFINE_WAIT(entry);

	prepare_to_wait_exclusive(&door, &entry, TASK_INTERRUPTIBLE);
	schedule();
	finish_wait(&door, &entry);
	pr_info("waitkinds: visitor %ld comes in\n", (long)number);
	return 0;
}

static int listener(void *unused)
{
	allow_signal(SIGUSR1);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!signal_pending(current))
			schedule_timeout(HZ);
		__set_current_state(TASK_RUNNING);
		if (signal_pending(current)) {
			pr_info("waitkinds: a signal came\n");
			flush_signals(current);
		}
	}
	return 42;
}

static int __init waitkinds_init(void)
{
	struct task_struct *thread;
	long i;

	kthread_run(simple_waiter, NULL, "simple");
	msleep(5);
	WRITE_ONCE(ready, 1);
	swake_up_one(&simple);
	msleep(5);

	set_bit(3, &bits);
	set_bit(4, &bits);
	kthread_run(bit_waiter, NULL, "bits");
	msleep(5);
	clear_and_wake_up_bit(3, &bits);
	msleep(60);

	for (i = 0; i < 4; i++)
		kthread_run(visitor, (void *)i, "visitor%ld", i);
	msleep(5);
	wake_up(&door);
	msleep(5);
	pr_info("waitkinds: two more\n");
	wake_up_nr(&door, 2);
	msleep(5);
	pr_info("waitkinds: somebody waits: %d\n", waitqueue_active(&door));
	wake_up_all(&door);
	msleep(5);

	thread = kthread_run(listener, NULL, "listener");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	msleep(5);
	send_sig(SIGUSR1, thread, 1);
	msleep(5);
	send_sig(SIGUSR2, thread, 1); /* forced by the kernel */
	msleep(5);
	pr_info("waitkinds: the listener returned %d\n", kthread_stop(thread));
	return 0;
}

static void __exit waitkinds_exit(void)
{
}

module_init(waitkinds_init);
module_exit(waitkinds_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("simple wait queues, bits, exclusive waiters, signals to threads");
