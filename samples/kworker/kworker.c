// SPDX-License-Identifier: GPL-2.0-only
/* A kthread_worker: work that is queued, delayed, flushed and cancelled. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rtmutex.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

static struct kthread_worker *worker;

static void say(struct kthread_work *work)
{
	pr_info("kworker: work runs in %s\n", current->comm);
	msleep(10);
}

static void say_late(struct kthread_work *work)
{
	pr_info("kworker: delayed work runs\n");
}

static void say_rcu(struct work_struct *work)
{
	pr_info("kworker: work behind a grace period runs\n");
}

static DEFINE_RT_MUTEX(mutex);
static struct rcu_work behind;
static DEFINE_KTHREAD_WORK(now, say);
static DEFINE_KTHREAD_DELAYED_WORK(later, say_late);

static int __init kworker_init(void)
{
	bool first, again;

	worker = kthread_create_worker(0, "say/%d", 3);
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	first = kthread_queue_work(worker, &now);
	again = kthread_queue_work(worker, &now);
	pr_info("kworker: queued: %d, a second time: %d\n", first, again);
	kthread_flush_work(&now);
	pr_info("kworker: flushed\n");
	kthread_queue_delayed_work(worker, &later, msecs_to_jiffies(50));
	msleep(100);
	kthread_queue_delayed_work(worker, &later, HZ);
	pr_info("kworker: cancelled while it waited: %d\n", kthread_cancel_delayed_work_sync(&later));
	kthread_queue_work(worker, &now);

	INIT_RCU_WORK(&behind, say_rcu);
	first = queue_rcu_work(system_wq, &behind);
	again = queue_rcu_work(system_wq, &behind);
	pr_info("kworker: queued: %d, a second time: %d, flushed: %d\n", first, again, flush_rcu_work(&behind));
	rt_mutex_lock(&mutex);
	pr_info("kworker: an rt_mutex that is held: %d\n", rt_mutex_trylock(&mutex));
	rt_mutex_unlock(&mutex);
	return 0;
}

static void __exit kworker_exit(void)
{
	kthread_destroy_worker(worker);
	pr_info("kworker: the worker is gone\n");
}

module_init(kworker_init);
module_exit(kworker_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A thread that runs queued work");
MODULE_LICENSE("GPL");
