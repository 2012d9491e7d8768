// SPDX-License-Identifier: GPL-2.0-only
/* Bug: programs get memory that nobody wrote: a hole in a structure, and a member. With fixed=1 it is cleared. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "clear it first");

struct answer {
	u8 kind;
	u32 count;
	u64 unset;
};

static ssize_t uninit_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	struct answer *answer = kmalloc(sizeof(*answer), fixed ? GFP_KERNEL | __GFP_ZERO : GFP_KERNEL);
	ssize_t done = min(count, sizeof(*answer));

	if (!answer)
		return -ENOMEM;
	answer->kind = 1;
	answer->count = 2;
	if (copy_to_user(buf, answer, done))
		done = -EFAULT;
	kfree(answer);
	return done;
}

static const struct proc_ops ops = { .proc_read = uninit_read };
static struct proc_dir_entry *entry;

static int __init uninit_init(void)
{
	entry = proc_create("uninit", 0444, NULL, &ops);
	return entry ? 0 : -ENOMEM;
}

static void __exit uninit_exit(void)
{
	proc_remove(entry);
}

module_init(uninit_init);
module_exit(uninit_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: memory that nobody wrote, for programs");
MODULE_LICENSE("GPL");
