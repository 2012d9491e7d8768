// SPDX-License-Identifier: GPL-2.0
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>

#define WAYS 3

static struct task_struct *threads[WAYS];
static unsigned long rounds[WAYS];

module_param_array(rounds, ulong, NULL, 0444);
MODULE_PARM_DESC(rounds, "how often each thread has gone round");

static int go_round(void *data)
{
	unsigned long way = (unsigned long)data, second = jiffies + HZ;

	while (!kthread_should_stop()) {
		rounds[way]++;
		if (second && time_after(jiffies, second)) {
			pr_info("yields: thread %lu: a second has passed\n", way);
			second = 0;
		}
		if (way == 0)
			schedule();
		else if (way == 1)
			cond_resched();
		else
			yield();
	}
	return 0;
}

static int __init yields_init(void)
{
	unsigned long way;

	for (way = 0; way < WAYS; way++) {
		threads[way] = kthread_run(go_round, (void *)way, "yields/%lu", way);
		if (IS_ERR(threads[way])) {
			int err = PTR_ERR(threads[way]);

			while (way--)
				kthread_stop(threads[way]);
			return err;
		}
	}
	return 0;
}

static void __exit yields_exit(void)
{
	int way;

	for (way = 0; way < WAYS; way++)
		kthread_stop(threads[way]);
	pr_info("yields: %s\n", rounds[0] && rounds[1] && rounds[2] ? "all went round" : "one never ran");
}

module_init(yields_init);
module_exit(yields_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Threads that give up the processor and never sleep");
