// SPDX-License-Identifier: GPL-2.0-only
/* A device whose file operations do not say whose they are: nothing keeps the module while it is open. */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/proc_fs.h>

static bool tidy = true;
module_param(tidy, bool, 0444);
MODULE_PARM_DESC(tidy, "whether the exit function takes back what init registered");

static u32 reads;

static ssize_t noowner_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	reads++;
	return simple_read_from_buffer(to, count, pos, "still here\n", 11);
}

static const struct file_operations noowner_fops = {
	/* .owner = THIS_MODULE is what is missing */
	.read = noowner_read,
	.llseek = default_llseek,
};

static const struct proc_ops noowner_proc_ops = {
	.proc_read = noowner_read,
};

static struct miscdevice noowner_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "noowner",
	.fops = &noowner_fops,
};

static int __init noowner_init(void)
{
	int error = misc_register(&noowner_device);

	if (error)
		return error;
	debugfs_create_u32("noowner", 0444, NULL, &reads);
	proc_create("noowner", 0444, NULL, &noowner_proc_ops);
	return 0;
}

static void __exit noowner_exit(void)
{
	if (!tidy)
		return;
	remove_proc_entry("noowner", NULL);
	debugfs_remove(debugfs_lookup("noowner", NULL));
	misc_deregister(&noowner_device);
}

module_init(noowner_init);
module_exit(noowner_exit);
MODULE_DESCRIPTION("A driver that can be freed while it is open");
MODULE_LICENSE("GPL");
