// SPDX-License-Identifier: GPL-2.0-only
/* pr_debug(): lines that are compiled in and turned on at run time. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static int poke_set(const char *text, const struct kernel_param *param)
{
	pr_debug("prdebug: poked with \"%c\"\n", text[0]);
	return 0;
}

static const struct kernel_param_ops poke_ops = {
	.set = poke_set,
};
module_param_cb(poke, &poke_ops, NULL, 0200);
MODULE_PARM_DESC(poke, "write anything to run a pr_debug()");

static int __init prdebug_init(void)
{
	pr_debug("prdebug: debugging\n");
	pr_info("prdebug: loaded\n");
	return 0;
}

static void __exit prdebug_exit(void)
{
	pr_debug("prdebug: unloading\n");
}

module_init(prdebug_init);
module_exit(prdebug_exit);
MODULE_DESCRIPTION("Lines that are turned on at run time");
MODULE_LICENSE("GPL");
