// SPDX-License-Identifier: GPL-2.0-only
/* A device that signals its readers when there is news, and an ioctl that gives a descriptor of its own. */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#define FASYNC_NEW_TICKET _IO('f', 1)

static struct fasync_struct *readers;
static char news[64];
static size_t length;

static ssize_t news_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	return simple_read_from_buffer(buf, count, pos, news, length);
}

static ssize_t news_write(struct file *file, const char __user *buf, size_t count, loff_t *pos)
{
	length = min(count, sizeof(news));
	if (copy_from_user(news, buf, length))
		return -EFAULT;
	kill_fasync(&readers, SIGIO, POLL_IN);
	return length;
}

static int news_fasync(int fd, struct file *file, int on)
{
	int changed = fasync_helper(fd, file, on, &readers);

	pr_info("fasync: fd %d on %d: %d\n", fd, on, changed);
	return changed;
}

static ssize_t ticket_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	char text[24];

	return simple_read_from_buffer(buf, count, pos, text,
				       snprintf(text, sizeof(text), "ticket %ld\n", (long)file->private_data));
}

static int ticket_release(struct inode *inode, struct file *file)
{
	pr_info("fasync: ticket %ld goes\n", (long)file->private_data);
	return 0;
}

static const struct file_operations ticket_fops = {
	.owner = THIS_MODULE, .read = ticket_read, .release = ticket_release,
};

static long news_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd != FASYNC_NEW_TICKET)
		return -ENOTTY;
	return anon_inode_getfd("ticket", &ticket_fops, (void *)arg, O_RDONLY | O_CLOEXEC);
}

static const struct file_operations news_fops = {
	.owner = THIS_MODULE, .read = news_read, .write = news_write, .fasync = news_fasync,
	.unlocked_ioctl = news_ioctl,
};

static struct miscdevice news_device = {
	.minor = MISC_DYNAMIC_MINOR, .name = "news", .fops = &news_fops, .mode = 0666,
};

module_misc_device(news_device);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Asynchronous notification and anonymous inodes");
