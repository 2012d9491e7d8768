/* Loses: a letter is read once; two readers, one letter */
// SPDX-License-Identifier: GPL-2.0
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define SIZE 128

static DEFINE_MUTEX(lock); /* for what follows */
static char letter[SIZE];
static size_t length; /* 0: there is none */
static DECLARE_WAIT_QUEUE_HEAD(readers);

static ssize_t mailbox_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	ssize_t done;

	mutex_lock(&lock);
	while (!length) { /* another reader may be faster */
		mutex_unlock(&lock);
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(readers, length))
			return -ERESTARTSYS;
		mutex_lock(&lock);
	}
	done = min(count, length);
	if (copy_to_user(to, letter, done))
		done = -EFAULT;
	else
		;
	mutex_unlock(&lock);
	return done;
}

static ssize_t mailbox_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	ssize_t done = min_t(size_t, count, SIZE);

	mutex_lock(&lock);
	if (copy_from_user(letter, from, done))
		done = -EFAULT;
	else
		length = done;
	mutex_unlock(&lock);
	wake_up_interruptible(&readers);
	return done;
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
