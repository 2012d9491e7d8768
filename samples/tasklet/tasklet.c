// SPDX-License-Identifier: GPL-2.0-only
/* Tasklets and irq_work: functions that run between tasks. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/module.h>

static struct tasklet_struct tasklet, old_style;
static struct irq_work irq_work;

static void run(struct tasklet_struct *t)
{
	pr_info("tasklet: runs, in softirq %d, in hardirq %d\n", !!in_serving_softirq(), !!in_hardirq());
}

static void run_old_style(unsigned long data)
{
	pr_info("tasklet: of the old style, with %lu\n", data);
}

static void run_irq_work(struct irq_work *work)
{
	pr_info("tasklet: irq_work, in softirq %d, in hardirq %d\n", !!in_serving_softirq(), !!in_hardirq());
	tasklet_schedule(&tasklet);
}

static int __init tasklet_sample_init(void)
{
	tasklet_setup(&tasklet, run);
	tasklet_init(&old_style, run_old_style, 42);
	init_irq_work(&irq_work, run_irq_work);

	tasklet_disable(&old_style);
	tasklet_schedule(&old_style);
	tasklet_schedule(&old_style);
	pr_info("tasklet: irq_work queued: %d\n", irq_work_queue(&irq_work));
	msleep(20);
	pr_info("tasklet: enabled\n");
	tasklet_enable(&old_style);
	msleep(20);

	local_bh_disable();
	tasklet_schedule(&tasklet);
	pr_info("tasklet: softirqs are off\n");
	local_bh_enable();
	return 0;
}

static void __exit tasklet_sample_exit(void)
{
	tasklet_schedule(&tasklet);
	tasklet_kill(&tasklet);
	tasklet_kill(&old_style);
	pr_info("tasklet: killed\n");
}

module_init(tasklet_sample_init);
module_exit(tasklet_sample_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Tasklets and irq_work");
MODULE_LICENSE("GPL");
