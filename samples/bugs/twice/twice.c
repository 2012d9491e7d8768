// SPDX-License-Identifier: GPL-2.0-only
/* Bug: exit removes what is removed, and frees what it never had. With fixed=1 it does neither. */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/module.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "remove once");

static dev_t number;
static struct cdev *cdev;
static const struct file_operations fops = { .owner = THIS_MODULE };

static int __init twice_init(void)
{
	int error = alloc_chrdev_region(&number, 0, 1, "twice");

	if (error)
		return error;
	cdev = cdev_alloc();
	if (!cdev) {
		unregister_chrdev_region(number, 1);
		return -ENOMEM;
	}
	cdev->ops = &fops;
	cdev->owner = THIS_MODULE;
	error = cdev_add(cdev, number, 1);
	if (error) {
		cdev_del(cdev);
		unregister_chrdev_region(number, 1);
	}
	return error;
}

static void __exit twice_exit(void)
{
	cdev_del(cdev);
	unregister_chrdev_region(number, 1);
	if (fixed)
		return;
	unregister_chrdev_region(number, 1);
	free_irq(5, &number);
}

module_init(twice_init);
module_exit(twice_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: removing twice");
MODULE_LICENSE("GPL");
