/* Loses: takes back everything */
// SPDX-License-Identifier: GPL-2.0
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#define SIZE 64

static DEFINE_MUTEX(lock); /* for what follows */
static char note[SIZE];
static size_t length;

static dev_t number;
static struct cdev cdev;
static struct class *class;

static ssize_t note_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	ssize_t done;

	mutex_lock(&lock);
	done = simple_read_from_buffer(to, count, pos, note, length);
	mutex_unlock(&lock);
	return done;
}

static ssize_t note_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	ssize_t done = -ENOSPC;

	mutex_lock(&lock);
	if (*pos >= SIZE)
		goto out;
	count = min_t(size_t, count, SIZE - *pos);
	done = -EFAULT;
	if (copy_from_user(note + *pos, from, count))
		goto out;
	*pos += count;
	length = *pos;
	done = count;
out:
	mutex_unlock(&lock);
	return done;
}

static const struct file_operations note_fops = {
	.owner = THIS_MODULE,
	.read = note_read,
	.write = note_write,
};

static int __init note_init(void)
{
	struct device *device;
	int error;

	error = alloc_chrdev_region(&number, 0, 1, "note");
	if (error)
		return error;
	cdev_init(&cdev, &note_fops);
	error = cdev_add(&cdev, number, 1);
	if (error)
		goto no_cdev;
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	class = class_create(THIS_MODULE, "note");
#else
	class = class_create("note");
#endif
	error = PTR_ERR_OR_ZERO(class);
	if (error)
		goto no_class;
	device = device_create(class, NULL, number, NULL, "note");
	error = PTR_ERR_OR_ZERO(device);
	if (error)
		goto no_device;
	return 0;

no_device:
	class_destroy(class);
no_class:
	cdev_del(&cdev);
no_cdev:
	unregister_chrdev_region(number, 1);
	return error;
}

static void __exit note_exit(void)
{
	device_destroy(class, number);
	class_destroy(class);
	cdev_del(&cdev);
}

module_init(note_init);
module_exit(note_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("keeps a note");
