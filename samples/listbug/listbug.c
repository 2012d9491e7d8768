// SPDX-License-Identifier: GPL-2.0-only
/* A bug: an entry is deleted from a list twice. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>

static LIST_HEAD(list);
static struct list_head entry;

static int __init listbug_init(void)
{
	list_add(&entry, &list);
	list_del(&entry);
	pr_info("listbug: deleted once\n");
	list_del(&entry);
	pr_info("listbug: this is never reached\n");
	return 0;
}

static void __exit listbug_exit(void)
{
}

module_init(listbug_init);
module_exit(listbug_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A bug: list_del twice");
MODULE_LICENSE("GPL");
