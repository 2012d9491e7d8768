// SPDX-License-Identifier: GPL-2.0
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#define SIZE 64

static const struct file_operations note_fops = {
	.owner = THIS_MODULE,
	/* TODO */
};

static int __init note_init(void)
{
	/* TODO: number, cdev, class, device; each that fails takes back those before it */
	return 0;
}

static void __exit note_exit(void)
{
	/* TODO: the same, backwards */
}

module_init(note_init);
module_exit(note_exit);

MODULE_LICENSE("GPL");
