// SPDX-License-Identifier: GPL-2.0-only
/*
 * A character device with a buffer: what is written can be read back.
 *
 * The table of function pointers below is what register_chrdev() enters for the major number; `kmod-emu devices`
 * shows it. With trust=1, write() follows the user's pointer itself, which SMAP does not let pass.
 */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#define SIZE 256

static bool trust;
module_param(trust, bool, 0644);
MODULE_PARM_DESC(trust, "follow user pointers without copy_from_user()");

static int major;
static char buffer[SIZE];
static size_t length;

static int echo_open(struct inode *inode, struct file *file)
{
	pr_info("echo: opened, minor %u\n", iminor(inode));
	return 0;
}

static int echo_release(struct inode *inode, struct file *file)
{
	pr_info("echo: released\n");
	return 0;
}

static ssize_t echo_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	size_t left = *pos < length ? length - *pos : 0;

	count = min(count, left);
	if (copy_to_user(to, buffer + *pos, count))
		return -EFAULT;
	*pos += count;
	return count;
}

static ssize_t echo_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	count = min_t(size_t, count, SIZE);
	if (trust)
		buffer[0] = *(const char __force *)from;
	else if (copy_from_user(buffer, from, count))
		return -EFAULT;
	length = count;
	return count;
}

static const struct file_operations echo_fops = {
	.owner = THIS_MODULE,
	.open = echo_open,
	.release = echo_release,
	.read = echo_read,
	.write = echo_write,
	.llseek = default_llseek,
};

static int __init echo_init(void)
{
	major = register_chrdev(0, "echo", &echo_fops);
	if (major < 0)
		return major;
	pr_info("echo: major %d; mknod /dev/echo c %d 0\n", major, major);
	return 0;
}

static void __exit echo_exit(void)
{
	unregister_chrdev(major, "echo");
}

module_init(echo_init);
module_exit(echo_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A character device that gives back what was written");
