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

static unsigned int period = 100;
module_param(period, uint, 0444);
MODULE_PARM_DESC(period, "milliseconds from beat to beat, 1 to 10000");

static unsigned int work;
module_param(work, uint, 0444);
MODULE_PARM_DESC(work, "milliseconds that the thread spends on a beat");

struct beat {
	struct list_head link;
};

static DEFINE_SPINLOCK(lock); /* for the list and what it counts; taken in a softirq, too */
static LIST_HEAD(waiting);
static unsigned int count, done;
static DECLARE_WAIT_QUEUE_HEAD(wake);
static struct task_struct *thread;

static void pulse_beat(struct timer_list *timer)
{
	struct beat *beat = kmalloc(sizeof(*beat), GFP_ATOMIC);

	if (beat) {
		spin_lock(&lock);
		list_add_tail(&beat->link, &waiting);
		count++;
		spin_unlock(&lock);
		wake_up_interruptible(&wake);
	}
	mod_timer(timer, jiffies + msecs_to_jiffies(READ_ONCE(period)));
}

static DEFINE_TIMER(timer, pulse_beat);

static struct beat *pulse_take(void)
{
	struct beat *beat;

	spin_lock_bh(&lock);
	beat = list_first_entry_or_null(&waiting, struct beat, link);
	if (beat) {
		list_del(&beat->link);
		count--;
	}
	spin_unlock_bh(&lock);
	return beat;
}

static int pulse_thread(void *unused)
{
	struct beat *beat;

	while (!kthread_should_stop()) {
		beat = pulse_take();
		if (!beat) {
			wait_event_interruptible(wake, count || kthread_should_stop());
			continue;
		}
		if (work)
			msleep(work);
		kfree(beat);
		spin_lock_bh(&lock);
		done++;
		spin_unlock_bh(&lock);
	}
	return 0;
}

static void pulse_set_period(unsigned int ms)
{
	del_timer_sync(&timer);
	WRITE_ONCE(period, ms);
	if (ms)
		mod_timer(&timer, jiffies + msecs_to_jiffies(ms));
}

static int pulse_show(struct seq_file *seq, void *unused)
{
	unsigned int now_done, now_waiting;

	spin_lock_bh(&lock);
	now_done = done;
	now_waiting = count;
	spin_unlock_bh(&lock);
	seq_printf(seq, "done: %u, waiting: %u\n", now_done, now_waiting);
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
	if (period < 1 || period > 10000)
		return -EINVAL;
	thread = kthread_run(pulse_thread, NULL, "pulse");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	if (!proc_create("pulse", 0644, NULL, &pulse_proc)) {
		kthread_stop(thread);
		return -ENOMEM;
	}
	pulse_set_period(period);
	return 0;
}

static void __exit pulse_exit(void)
{
	struct beat *beat;

	remove_proc_entry("pulse", NULL); /* nobody starts the timer any more */
	del_timer_sync(&timer);
	kthread_stop(thread);
	while ((beat = pulse_take()))
		kfree(beat);
}

module_init(pulse_init);
module_exit(pulse_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a timer, a thread and a list between them");
