// SPDX-License-Identifier: GPL-2.0-only
/* A bug: sleeping while a spinlock is held, and what may sleep in a timer's function. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/timer.h>

static DEFINE_SPINLOCK(lock);
static DEFINE_MUTEX(mutex);
static struct timer_list timer;

static void on_timer(struct timer_list *t)
{
	mutex_lock(&mutex); /* it happens to be free, so it does not sleep this time */
	mutex_unlock(&mutex);
}

static int __init atomicsleep_init(void)
{
	timer_setup(&timer, on_timer, 0);
	mod_timer(&timer, jiffies + 1);
	spin_lock(&lock);
	msleep(10);
	spin_unlock(&lock);
	return 0;
}

static void __exit atomicsleep_exit(void)
{
	del_timer_sync(&timer);
}

module_init(atomicsleep_init);
module_exit(atomicsleep_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A bug: sleeping in atomic context");
MODULE_LICENSE("GPL");
