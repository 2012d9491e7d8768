// SPDX-License-Identifier: GPL-2.0-only
/* A device in the modern way: cdev, class and node; readers wait for writers, or poll; ioctl; an attribute. */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "mailbox.h"

static char buffer[64];
static int waiting, limit = sizeof(buffer);
static int boast;
module_param(boast, int, 0644);
MODULE_PARM_DESC(boast, "how many bytes more than it gave read() claims, a bug");
static DEFINE_MUTEX(lock);
static DECLARE_WAIT_QUEUE_HEAD(readers);
static DECLARE_WAIT_QUEUE_HEAD(writers);

static dev_t number;
static struct cdev mailbox;
static struct class *class;
static struct device *device;

static ssize_t mailbox_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	ssize_t err;

	if (mutex_lock_interruptible(&lock))
		return -ERESTARTSYS;
	while (!waiting) {
		mutex_unlock(&lock);
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(readers, waiting))
			return -ERESTARTSYS;
		if (mutex_lock_interruptible(&lock))
			return -ERESTARTSYS;
	}
	count = min_t(size_t, count, waiting);
	err = copy_to_user(to, buffer, count) ? -EFAULT : count + boast;
	if (err >= 0) {
		waiting -= count;
		memmove(buffer, buffer + count, waiting);
		wake_up_interruptible(&writers);
	}
	mutex_unlock(&lock);
	return err;
}

static ssize_t mailbox_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	ssize_t err = -EAGAIN;

	mutex_lock(&lock);
	count = min_t(size_t, count, limit - min(waiting, limit));
	if (count)
		err = copy_from_user(buffer + waiting, from, count) ? -EFAULT : count;
	if (err >= 0) {
		waiting += count;
		wake_up_interruptible(&readers);
		sysfs_notify(&device->kobj, NULL, "waiting");
	}
	mutex_unlock(&lock);
	return err;
}

static __poll_t mailbox_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &readers, table);
	poll_wait(file, &writers, table);
	return (waiting ? EPOLLIN | EPOLLRDNORM : 0) | (waiting < limit ? EPOLLOUT | EPOLLWRNORM : 0);
}

static long mailbox_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct mailbox_state state = { waiting, limit };
	int new;

	switch (cmd) {
	case MAILBOX_CLEAR:
		if (!capable(CAP_SYS_ADMIN))
			return -EPERM;
		waiting = 0;
		return 0;
	case MAILBOX_STATE:
		return copy_to_user((void __user *)arg, &state, sizeof(state)) ? -EFAULT : 0;
	case MAILBOX_LIMIT:
		if (get_user(new, (int __user *)arg))
			return -EFAULT;
		if (new < 1 || new > sizeof(buffer))
			return -EINVAL;
		limit = new;
		return 0;
	}
	return -ENOTTY;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = stream_open,
	.read = mailbox_read,
	.write = mailbox_write,
	.poll = mailbox_poll,
	.unlocked_ioctl = mailbox_ioctl,
	.llseek = no_llseek,
};

static ssize_t waiting_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", waiting);
}

static DEVICE_ATTR_RO(waiting);
static struct attribute *mailbox_attrs[] = { &dev_attr_waiting.attr, NULL };
ATTRIBUTE_GROUPS(mailbox);

static int __init mailbox_init(void)
{
	int err = alloc_chrdev_region(&number, 0, 1, "mailbox");

	if (err)
		return err;
	cdev_init(&mailbox, &operations);
	mailbox.owner = THIS_MODULE;
	err = cdev_add(&mailbox, number, 1);
	if (err)
		goto no_cdev;
	class = class_create(THIS_MODULE, "mailbox");
	if (IS_ERR(class)) {
		err = PTR_ERR(class);
		goto no_class;
	}
	device = device_create_with_groups(class, NULL, number, NULL, mailbox_groups, "mailbox%d", 0);
	if (IS_ERR(device)) {
		err = PTR_ERR(device);
		goto no_device;
	}
	dev_info(device, "ready\n");
	return 0;
no_device:
	class_destroy(class);
no_class:
	cdev_del(&mailbox);
no_cdev:
	unregister_chrdev_region(number, 1);
	return err;
}

static void __exit mailbox_exit(void)
{
	device_destroy(class, number);
	class_destroy(class);
	cdev_del(&mailbox);
	unregister_chrdev_region(number, 1);
}

module_init(mailbox_init);
module_exit(mailbox_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A character device with a class, ioctl, blocking reads and poll");
