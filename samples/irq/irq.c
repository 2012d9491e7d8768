// SPDX-License-Identifier: GPL-2.0-only
/* A driver of two interrupt lines: a shared one, and one whose work is done by a thread. */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/module.h>

static int threaded_line = 5;
module_param(threaded_line, int, 0444);
MODULE_PARM_DESC(threaded_line, "line whose handler only wakes a thread");

static int shared_line = 10;
module_param(shared_line, int, 0444);
MODULE_PARM_DESC(shared_line, "line with two handlers");

static int ids[2];

static irqreturn_t on_shared(int irq, void *dev_id)
{
	int *id = dev_id;

	pr_info("irq: handler %ld of line %d, hardirq %d, interrupts off %d\n",
		(long)(id - ids), irq, !!in_hardirq(), irqs_disabled());
	return id == &ids[1] ? IRQ_HANDLED : IRQ_NONE;
}

static irqreturn_t on_line(int irq, void *dev_id)
{
	pr_info("irq: line %d was raised\n", irq);
	return IRQ_WAKE_THREAD;
}

static irqreturn_t in_thread(int irq, void *dev_id)
{
	pr_info("irq: %s takes its time, in task context %d\n", current->comm, in_task());
	msleep(5);
	pr_info("irq: %s is done\n", current->comm);
	return IRQ_HANDLED;
}

static int __init irq_sample_init(void)
{
	int err;

	err = request_irq(shared_line, on_shared, IRQF_SHARED, "first", &ids[0]);
	if (err)
		return err;
	err = request_irq(shared_line, on_shared, 0, "selfish", NULL);
	pr_info("irq: a second handler that does not share: %d\n", err);
	err = request_irq(shared_line, on_shared, IRQF_SHARED, "second", &ids[1]);
	if (err)
		goto free_first;
	err = request_threaded_irq(threaded_line, on_line, in_thread, IRQF_ONESHOT, "slow", ids);
	if (err)
		goto free_second;
	return 0;

free_second:
	free_irq(shared_line, &ids[1]);
free_first:
	free_irq(shared_line, &ids[0]);
	return err;
}

static void __exit irq_sample_exit(void)
{
	pr_info("irq: frees %s\n", (const char *)free_irq(threaded_line, ids));
	free_irq(shared_line, &ids[1]);
	free_irq(shared_line, &ids[0]);
}

module_init(irq_sample_init);
module_exit(irq_sample_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Interrupt handlers, shared and threaded");
MODULE_LICENSE("GPL");
