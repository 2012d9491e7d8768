// SPDX-License-Identifier: GPL-2.0-only
/*
 * A character device: a row of pointers to functions in the kernel's table. It remembers what was written, and
 * counts its users itself, as modules did before file_operations had an owner.
 */
#include <asm/uaccess.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

#define SIZE 64
#define CHARDEV_CLEAR 0x6301

static int major;
static char *text;
static size_t length;

static int chardev_open(struct inode *inode, struct file *file)
{
	MOD_INC_USE_COUNT;
	printk(KERN_INFO "chardev: minor %u opened\n", MINOR(inode->i_rdev));
	return 0;
}

static int chardev_release(struct inode *inode, struct file *file)
{
	MOD_DEC_USE_COUNT;
	return 0;
}

static ssize_t chardev_read(struct file *file, char *buf, size_t count, loff_t *ppos)
{
	if (*ppos >= length)
		return 0;
	if (count > length - *ppos)
		count = length - *ppos;
	if (copy_to_user(buf, text + *ppos, count))
		return -EFAULT;
	*ppos += count;
	return count;
}

static ssize_t chardev_write(struct file *file, const char *buf, size_t count, loff_t *ppos)
{
	if (count > SIZE)
		count = SIZE;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	length = count;
	return count;
}

static int chardev_ioctl(struct inode *inode, struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd != CHARDEV_CLEAR)
		return -ENOTTY;
	length = 0;
	return 0;
}

static struct file_operations chardev_fops = {
	read: chardev_read,
	write: chardev_write,
	ioctl: chardev_ioctl,
	open: chardev_open,
	release: chardev_release,
};

int init_module(void)
{
	text = kmalloc(SIZE, GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	major = register_chrdev(0, "chardev", &chardev_fops);
	if (major < 0) {
		kfree(text);
		return major;
	}
	printk(KERN_INFO "chardev: major %d\n", major);
	return 0;
}

void cleanup_module(void)
{
	unregister_chrdev(major, "chardev");
	kfree(text);
}

EXPORT_NO_SYMBOLS;
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A character device of Linux 2.4");
