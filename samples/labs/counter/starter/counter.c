// SPDX-License-Identifier: GPL-2.0
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "counter.h"

static long counter_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	/* TODO */
	return -ENOTTY;
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

/* TODO: /proc/counter */

module_misc_device(counter_device);

MODULE_LICENSE("GPL");
