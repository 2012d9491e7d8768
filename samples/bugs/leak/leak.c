// SPDX-License-Identifier: GPL-2.0-only
/* Bug: exit gives nothing back. With fixed=1 it does. */
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "give everything back");

static char *buffers[3];
static void *area;
static dev_t number;
static struct class *class;
static struct proc_dir_entry *entry;
static struct timer_list timer;
static struct task_struct *thread;

static void on_timer(struct timer_list *t)
{
}

static void do_work(struct work_struct *w)
{
}

static DECLARE_DELAYED_WORK(work, do_work);

static int wait_for_the_end(void *data)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);
	return 0;
}

static int __init leak_init(void)
{
	int i;

	for (i = 0; i < 3; i++)
		buffers[i] = kmalloc(100, GFP_KERNEL);
	area = vmalloc(8000);
	if (alloc_chrdev_region(&number, 0, 2, "leak"))
		return -EBUSY;
	class = class_create(THIS_MODULE, "leak");
	device_create(class, NULL, number, NULL, "leak%d", 0);
	entry = proc_mkdir("leak", NULL);
	timer_setup(&timer, on_timer, 0);
	mod_timer(&timer, jiffies + 10 * HZ);
	thread = kthread_run(wait_for_the_end, NULL, "leak");
	schedule_delayed_work(&work, 10 * HZ);
	return 0;
}

static void __exit leak_exit(void)
{
	int i;

	if (!fixed)
		return;
	cancel_delayed_work_sync(&work);
	kthread_stop(thread);
	del_timer_sync(&timer);
	proc_remove(entry);
	device_destroy(class, number);
	class_destroy(class);
	unregister_chrdev_region(number, 2);
	vfree(area);
	for (i = 0; i < 3; i++)
		kfree(buffers[i]);
}

module_init(leak_init);
module_exit(leak_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: memory, devices, a timer, a thread and work that exit forgets");
MODULE_LICENSE("GPL");
