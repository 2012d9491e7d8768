// SPDX-License-Identifier: GPL-2.0-only
/* Bug: things are used that nobody has prepared. With fixed=1 they are. */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "prepare them");

static dev_t number;
static struct cdev cdev;
static struct mutex mutex;
static struct timer_list timer;
static struct work_struct work;
static const struct file_operations fops = { .owner = THIS_MODULE };

static void on_timer(struct timer_list *t)
{
}

static void do_work(struct work_struct *w)
{
}

static int __init order_init(void)
{
	int error = alloc_chrdev_region(&number, 0, 1, "order");

	if (error)
		return error;
	if (fixed) {
		cdev_init(&cdev, &fops);
		mutex_init(&mutex);
		timer_setup(&timer, on_timer, 0);
		INIT_WORK(&work, do_work);
	}
	mutex_lock(&mutex);
	error = cdev_add(&cdev, number, 1);
	mutex_unlock(&mutex);
	if (error)
		unregister_chrdev_region(number, 1);
	return error;
}

static void __exit order_exit(void)
{
	del_timer_sync(&timer);
	cancel_work_sync(&work);
	cdev_del(&cdev);
	unregister_chrdev_region(number, 1);
}

module_init(order_init);
module_exit(order_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: things that nobody has prepared");
MODULE_LICENSE("GPL");
