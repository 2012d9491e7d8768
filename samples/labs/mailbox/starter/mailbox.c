// SPDX-License-Identifier: GPL-2.0
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define SIZE 128

static char letter[SIZE];

static ssize_t mailbox_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	/* TODO */
	return -EINVAL;
}

static ssize_t mailbox_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	/* TODO */
	return -EINVAL;
}

static const struct file_operations mailbox_fops = {
	.owner = THIS_MODULE,
	.read = mailbox_read,
	.write = mailbox_write,
};

static struct miscdevice mailbox_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mailbox",
	.fops = &mailbox_fops,
};

module_misc_device(mailbox_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a mailbox for one letter");
