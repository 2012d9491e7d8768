// SPDX-License-Identifier: GPL-2.0-only
/* A module that leaves the kernel's list of modules, and can be told to come back. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static bool hidden = true;
static struct list_head *before; /* our neighbour in the list, NULL while we are in it */

static void obey(void)
{
	struct list_head *self = &THIS_MODULE->list;

	if (hidden && !before) {
		before = self->prev;
		list_del(self);
		pr_info("hide: off the list\n");
	} else if (!hidden && before) {
		list_add(self, before);
		before = NULL;
		pr_info("hide: back in the list\n");
	}
}

static int hidden_set(const char *text, const struct kernel_param *param)
{
	int error = param_set_bool(text, param);

	/* While we are loaded, parameters are set before we are in the list for good. */
	if (!error && THIS_MODULE->state == MODULE_STATE_LIVE)
		obey();
	return error;
}

static const struct kernel_param_ops hidden_ops = {
	.set = hidden_set,
	.get = param_get_bool,
};
module_param_cb(hidden, &hidden_ops, &hidden, 0644);
MODULE_PARM_DESC(hidden, "whether to be off the list of modules");

static int __init hide_init(void)
{
	obey();
	return 0;
}

static void __exit hide_exit(void)
{
	pr_info("hide: goodbye\n");
}

module_init(hide_init);
module_exit(hide_exit);
MODULE_DESCRIPTION("Leaves the list of modules");
MODULE_LICENSE("GPL");
