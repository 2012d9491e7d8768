/* Loses: what is no number */
// SPDX-License-Identifier: GPL-2.0
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "counter.h"

static DEFINE_MUTEX(lock); /* for counter */
static int counter;

static long counter_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	int __user *place = (int __user *)arg;
	int value = 0;
	long error = 0;

	if (cmd == COUNTER_ADD && get_user(value, place))
		return -EFAULT;
	mutex_lock(&lock);
	switch (cmd) {
	case COUNTER_ADD:
		counter += value;
		break;
	case COUNTER_GET:
		error = put_user(counter, place);
		break;
	case COUNTER_RESET:
		counter = 0;
		break;
	default:
		error = -ENOTTY;
	}
	mutex_unlock(&lock);
	return error;
}

static const struct file_operations counter_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = counter_ioctl,
};

static struct miscdevice counter_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "counter",
	.fops = &counter_fops,
};

static int counter_show(struct seq_file *seq, void *unused)
{
	seq_printf(seq, "counter: %d\n", counter);
	return 0;
}

static int counter_open(struct inode *inode, struct file *file)
{
	return single_open(file, counter_show, NULL);
}

static ssize_t counter_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	int value = 0;
	int error = kstrtoint_from_user(from, count, 0, &value);

	(void)error;
	mutex_lock(&lock);
	counter = value;
	mutex_unlock(&lock);
	return count;
}

static const struct proc_ops counter_proc = {
	.proc_open = counter_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = counter_write,
	.proc_release = single_release,
};

static int __init counter_init(void)
{
	int error = misc_register(&counter_device);

	(void)error;
	if (!proc_create("counter", 0644, NULL, &counter_proc)) {
		misc_deregister(&counter_device);
		return -ENOMEM;
	}
	return 0;
}

static void __exit counter_exit(void)
{
	remove_proc_entry("counter", NULL);
	misc_deregister(&counter_device);
}

module_init(counter_init);
module_exit(counter_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a counter");
