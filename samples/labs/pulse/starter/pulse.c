// SPDX-License-Identifier: GPL-2.0
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/wait.h>

struct beat {
	struct list_head link;
};

/* TODO: parameters; a lock, and what it is for: */
static unsigned int count, done; /* beats that wait, beats that were dealt with */

static void pulse_set_period(unsigned int ms)
{
	/* TODO */
}

static int pulse_show(struct seq_file *seq, void *unused)
{
	/* TODO: who else uses these? */
	seq_printf(seq, "done: %u, waiting: %u\n", done, count);
	return 0;
}

static int pulse_open(struct inode *inode, struct file *file)
{
	return single_open(file, pulse_show, NULL);
}

static ssize_t pulse_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	unsigned int ms;
	int error = kstrtouint_from_user(from, size, 0, &ms);

	if (error)
		return error;
	if (ms > 10000)
		return -EINVAL;
	pulse_set_period(ms);
	return size;
}

static const struct proc_ops pulse_proc = {
	.proc_open = pulse_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = pulse_write,
	.proc_release = single_release,
};

static int __init pulse_init(void)
{
	/* TODO: the thread; then, when all is ready, the timer */
	if (!proc_create("pulse", 0644, NULL, &pulse_proc))
		return -ENOMEM;
	return 0;
}

static void __exit pulse_exit(void)
{
	remove_proc_entry("pulse", NULL);
	/* TODO: in which order? */
}

module_init(pulse_init);
module_exit(pulse_exit);

MODULE_LICENSE("GPL");
