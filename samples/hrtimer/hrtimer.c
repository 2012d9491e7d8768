// SPDX-License-Identifier: GPL-2.0-only
/* A high-resolution timer that fires every 250 microseconds, in hard interrupt context. */
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/module.h>

static struct hrtimer timer;
static ktime_t start, period;
static int fired, in_irq_count;

static enum hrtimer_restart fire(struct hrtimer *t)
{
	if (in_hardirq() && irqs_disabled())
		in_irq_count++;
	if (++fired == 1)
		pr_info("hrtimer: first after %lld us\n", ktime_to_us(ktime_sub(ktime_get(), start)));
	if (fired == 8)
		return HRTIMER_NORESTART;
	hrtimer_forward_now(t, period);
	return HRTIMER_RESTART;
}

static int __init hrtimer_sample_init(void)
{
	period = ns_to_ktime(250 * NSEC_PER_USEC);
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer.function = fire;
	start = ktime_get();
	hrtimer_start(&timer, period, HRTIMER_MODE_REL);
	udelay(1100);
	pr_info("hrtimer: %d times during a busy wait of 1100 us, active: %d\n", fired, hrtimer_active(&timer));
	usleep_range(1500, 2000);
	pr_info("hrtimer: %d times in the end, all in interrupts: %d\n", fired, fired == in_irq_count);
	return 0;
}

static void __exit hrtimer_sample_exit(void)
{
	pr_info("hrtimer: cancelled: %d\n", hrtimer_cancel(&timer));
}

module_init(hrtimer_sample_init);
module_exit(hrtimer_sample_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A high-resolution timer");
MODULE_LICENSE("GPL");
