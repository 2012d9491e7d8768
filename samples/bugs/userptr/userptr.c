// SPDX-License-Identifier: GPL-2.0-only
/* Bug: what a program writes is read by its own pointer. With fixed=1 it is copied first. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "ask get_user()");

static ssize_t userptr_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	char first;

	if (!fixed)
		first = *(const char __force *)buf;
	else if (get_user(first, buf))
		return -EFAULT;
	pr_info("userptr: it begins with %c\n", first);
	return count;
}

static const struct proc_ops ops = { .proc_write = userptr_write };
static struct proc_dir_entry *entry;

static int __init userptr_init(void)
{
	entry = proc_create("userptr", 0222, NULL, &ops);
	return entry ? 0 : -ENOMEM;
}

static void __exit userptr_exit(void)
{
	proc_remove(entry);
}

module_init(userptr_init);
module_exit(userptr_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: a user pointer is followed");
MODULE_LICENSE("GPL");
