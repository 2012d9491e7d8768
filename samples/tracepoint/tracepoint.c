// SPDX-License-Identifier: GPL-2.0-only
/* Tracepoints of our own: they cost nothing until somebody listens, then the code is changed. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>

enum { LIFT_UP, LIFT_DOWN };

#define CREATE_TRACE_POINTS
#include "tracepoint-trace.h"

static void too_many(void *data, int passengers)
{
	pr_info("tracepoint: %s: %d passengers\n", (char *)data, passengers);
}

static void count(void *data, int passengers)
{
	*(int *)data += passengers;
}

static int lift(void *unused)
{
	int floor = 0, direction = LIFT_UP;

	while (!kthread_should_stop()) {
		if (!schedule_timeout_interruptible(HZ)) {
			floor += direction == LIFT_UP ? 1 : -1;
			trace_lift_moved(floor, direction, current->comm);
			direction = floor % 3 ? direction : !direction;
			trace_printk("a floor is %d steps\n", 18 + floor);
		}
	}
	return 0;
}

static struct task_struct *thread;
static int total;

static int __init tracepoint_init(void)
{
	pr_info("tracepoint: somebody listens: %d\n", trace_lift_full_enabled());
	trace_lift_full(1);
	register_trace_lift_full(too_many, "first");
	trace_lift_full(2);
	register_trace_prio_lift_full(too_many, "before it", 20);
	register_trace_lift_full(count, &total);
	trace_lift_full(3);
	pr_info("tracepoint: once more: %d\n", register_trace_lift_full(count, &total));
	unregister_trace_lift_full(too_many, "first");
	unregister_trace_lift_full(too_many, "before it");
	trace_lift_full(4);
	pr_info("tracepoint: somebody listens: %d, counted %d\n", trace_lift_full_enabled(), total);

	thread = kthread_run(lift, NULL, "lift");
	return PTR_ERR_OR_ZERO(thread);
}

static void __exit tracepoint_exit(void)
{
	kthread_stop(thread);
	unregister_trace_lift_full(count, &total);
	tracepoint_synchronize_unregister();
	trace_lift_full(5);
	pr_info("tracepoint: counted %d\n", total);
}

module_init(tracepoint_init);
module_exit(tracepoint_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Tracepoints and trace events");
