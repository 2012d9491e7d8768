// SPDX-License-Identifier: GPL-2.0-only
/* Two threads wait for a condition, a third makes it true; then waits with a timeout and with a signal. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

static DECLARE_WAIT_QUEUE_HEAD(queue);
static struct task_struct *consumers[2], *patient;
static int items;
static bool done;

static int consume(void *data)
{
	int got = 0;

	for (;;) {
		if (wait_event_interruptible_exclusive(queue, items > 0 || done))
			break;
		if (done)
			break;
		items--;
		got++;
		pr_info("waitqueue: %s takes one, %d left\n", current->comm, items);
	}
	wait_event(queue, kthread_should_stop());
	return got;
}

static int wait_for_signal(void *data)
{
	int error;

	allow_signal(SIGUSR1);
	error = wait_event_interruptible(queue, done);
	pr_info("waitqueue: the wait ends with %d, signal pending: %d\n", error, signal_pending(current));
	flush_signals(current);
	wait_event(queue, kthread_should_stop());
	return 0;
}

static int __init waitqueue_init(void)
{
	long left = wait_event_timeout(queue, items, HZ / 10);

	pr_info("waitqueue: nothing came in time: %ld\n", left);
	consumers[0] = kthread_run(consume, NULL, "consumer0");
	consumers[1] = kthread_run(consume, NULL, "consumer1");
	patient = kthread_run(wait_for_signal, NULL, "patient");
	msleep(20);
	items = 3;
	wake_up_interruptible(&queue);
	msleep(20);
	send_sig(SIGUSR1, patient, 0);
	msleep(20);
	return 0;
}

static void __exit waitqueue_exit(void)
{
	int i, sum = 0;

	done = true;
	wake_up_all(&queue);
	for (i = 0; i < 2; i++)
		sum += kthread_stop(consumers[i]);
	kthread_stop(patient);
	pr_info("waitqueue: %d items were taken\n", sum);
}

module_init(waitqueue_init);
module_exit(waitqueue_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Waiting for a condition");
MODULE_LICENSE("GPL");
