// SPDX-License-Identifier: GPL-2.0-only
/* Bug: a list is freed while its nodes are still read. With fixed=1 the next one is read before. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "read the next one before");

struct node {
	int number;
	struct list_head list;
};

static LIST_HEAD(nodes);

static void __exit useafterfree_exit(void)
{
	struct node *node, *next;

	if (fixed) {
		list_for_each_entry_safe(node, next, &nodes, list)
			kfree(node);
	} else {
		list_for_each_entry(node, &nodes, list)
			kfree(node);
	}
}

static int __init useafterfree_init(void)
{
	struct node *node;
	int i;

	for (i = 0; i < 2; i++) {
		node = kzalloc(sizeof(*node), GFP_KERNEL);
		if (!node)
			return -ENOMEM;
		list_add(&node->list, &nodes);
	}
	return 0;
}

module_init(useafterfree_init);
module_exit(useafterfree_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: memory that is read after it was freed");
MODULE_LICENSE("GPL");
