// SPDX-License-Identifier: GPL-2.0-only
/* Walk the kernel's doubly linked list of modules, starting from ourselves. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

static const char *state_name(enum module_state state)
{
	switch (state) {
	case MODULE_STATE_LIVE:
		return "live";
	case MODULE_STATE_COMING:
		return "coming";
	case MODULE_STATE_GOING:
		return "going";
	default:
		return "unformed";
	}
}

/*
 * The head of the list is not exported to modules, but one link of the ring
 * is it: the only one that does not lie in the memory of a module.
 */
static bool is_list_head(const struct list_head *link)
{
	unsigned long address = (unsigned long)link;

	return address < MODULES_VADDR || address >= MODULES_END;
}

static void lists_print(void)
{
	struct list_head *link = &THIS_MODULE->list;
	struct module *mod;

	rcu_read_lock();
	do {
		if (is_list_head(link)) {
			pr_info("lists: (head of the list, in the base kernel)\n");
		} else {
			mod = list_entry(link, struct module, list);
			pr_info("lists: %s is %s, %d references\n",
				mod->name, state_name(mod->state), module_refcount(mod));
		}
		link = rcu_dereference(link->next);
	} while (link != &THIS_MODULE->list);
	rcu_read_unlock();
}

static int __init lists_init(void)
{
	lists_print();
	return 0;
}

static void __exit lists_exit(void)
{
	lists_print();
}

module_init(lists_init);
module_exit(lists_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Walk the list of modules");
