// SPDX-License-Identifier: GPL-2.0-only
/* Deferred work: the system's workqueue, an ordered one of our own, delays, flushing and cancelling. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

struct job {
	struct work_struct work;
	int number;
};

static struct workqueue_struct *ordered;
static struct job jobs[3];
static struct delayed_work late, never;
static int done;

static void do_job(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work);

	pr_info("deferred: job %d begins, may sleep: %d, a kworker: %d\n", job->number, !in_atomic(),
		!strncmp(current->comm, "kworker/", 8));
	msleep(30 - 10 * job->number);
	pr_info("deferred: job %d ends\n", job->number);
	done++;
}

static void do_late(struct work_struct *work)
{
	pr_info("deferred: late work\n");
}

static int __init deferred_init(void)
{
	int i;

	ordered = alloc_ordered_workqueue("in_order", 0);
	if (!ordered)
		return -ENOMEM;
	INIT_DELAYED_WORK(&late, do_late);
	INIT_DELAYED_WORK(&never, do_late);
	for (i = 0; i < 3; i++) {
		jobs[i].number = i;
		INIT_WORK(&jobs[i].work, do_job);
	}

	pr_info("deferred: one after the other\n");
	for (i = 0; i < 3; i++)
		queue_work(ordered, &jobs[i].work);
	pr_info("deferred: queued twice: %d\n", queue_work(ordered, &jobs[2].work));
	flush_workqueue(ordered);

	pr_info("deferred: side by side\n");
	for (i = 0; i < 3; i++)
		schedule_work(&jobs[i].work);
	for (i = 0; i < 3; i++)
		flush_work(&jobs[i].work);
	pr_info("deferred: %d jobs are done\n", done);

	schedule_delayed_work(&late, HZ / 2);
	schedule_delayed_work(&never, 100 * HZ);
	return 0;
}

static void __exit deferred_exit(void)
{
	pr_info("deferred: cancelled: %d %d\n", cancel_delayed_work_sync(&late), cancel_delayed_work_sync(&never));
	destroy_workqueue(ordered);
}

module_init(deferred_init);
module_exit(deferred_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Work done later by somebody else");
MODULE_LICENSE("GPL");
