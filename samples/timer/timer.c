// SPDX-License-Identifier: GPL-2.0-only
/* A timer that arms itself again, in a softirq, with the time in jiffies and nanoseconds. */
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/timer.h>

struct blinker {
	struct timer_list timer;
	int count;
	ktime_t start;
};

static struct blinker blinker;

static void blink(struct timer_list *timer)
{
	struct blinker *self = from_timer(self, timer, timer);

	self->count++;
	pr_info("timer: blink %d after %lld ms, in %s of %s\n", self->count,
		ktime_to_ms(ktime_sub(ktime_get(), self->start)), in_softirq() ? "a softirq" : "process context",
		current->comm);
	if (self->count < 3)
		mod_timer(&self->timer, jiffies + HZ / 10);
}

static int __init timer_init(void)
{
	blinker.start = ktime_get();
	timer_setup(&blinker.timer, blink, 0);
	blinker.timer.expires = jiffies + HZ / 10;
	add_timer(&blinker.timer);
	pr_info("timer: armed, pending: %d\n", timer_pending(&blinker.timer));
	return 0;
}

static void __exit timer_exit(void)
{
	pr_info("timer: pending: %d, was armed: %d\n", timer_pending(&blinker.timer),
		del_timer_sync(&blinker.timer));
}

module_init(timer_init);
module_exit(timer_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A timer");
MODULE_LICENSE("GPL");
