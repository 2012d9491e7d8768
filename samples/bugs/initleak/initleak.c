// SPDX-License-Identifier: GPL-2.0-only
/* Bug: where cdev_add() fails, init returns without undoing what it did. With fixed=1 it undoes it. */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "undo what was done");

static bool late;
module_param(late, bool, 0444);
MODULE_PARM_DESC(late, "fail at the end");

static const struct file_operations fops = { .owner = THIS_MODULE };
static struct cdev cdev;
static dev_t number;
static char *buffer;

static int __init initleak_init(void)
{
	int error;

	buffer = kzalloc(256, GFP_KERNEL);
	if (!buffer)
		return -ENOMEM;
	error = alloc_chrdev_region(&number, 0, 1, "initleak");
	if (error)
		goto no_number;
	cdev_init(&cdev, &fops);
	error = late ? -EIO : cdev_add(&cdev, number, 1);
	if (error)
		goto no_cdev;
	return 0;

no_cdev:
	if (!fixed)
		return error;
	unregister_chrdev_region(number, 1);
no_number:
	kfree(buffer);
	return error;
}

static void __exit initleak_exit(void)
{
	cdev_del(&cdev);
	unregister_chrdev_region(number, 1);
	kfree(buffer);
}

module_init(initleak_init);
module_exit(initleak_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: an error path that forgets to undo");
MODULE_LICENSE("GPL");
