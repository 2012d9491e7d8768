// SPDX-License-Identifier: GPL-2.0-only
/* Bug: a timer is left armed, and its code goes. With fixed=1 exit stops it. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timer.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "stop the timer");

static struct timer_list *timer;

static void on_timer(struct timer_list *t)
{
	mod_timer(t, jiffies + HZ);
}

static int __init callback_init(void)
{
	timer = kzalloc(sizeof(*timer), GFP_KERNEL);
	if (!timer)
		return -ENOMEM;
	timer_setup(timer, on_timer, 0);
	mod_timer(timer, jiffies + HZ);
	return 0;
}

static void __exit callback_exit(void)
{
	if (fixed) {
		del_timer_sync(timer);
		kfree(timer);
	}
}

module_init(callback_init);
module_exit(callback_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: a callback into code that is gone");
MODULE_LICENSE("GPL");
