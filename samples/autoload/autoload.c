// SPDX-License-Identifier: GPL-2.0-only
/* Asks for other modules by name or alias, as a driver asks for the parts it may need. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmod.h>
#include <linux/module.h>

static char *wanted = "hello";
module_param(wanted, charp, 0444);
MODULE_PARM_DESC(wanted, "name or alias of the module to ask for");

static bool wait = true;
module_param(wait, bool, 0444);
MODULE_PARM_DESC(wait, "whether to wait until modprobe has ended");

static int times = 1;
module_param(times, int, 0444);
MODULE_PARM_DESC(times, "how often to ask");

static int __init autoload_init(void)
{
	int i, err;

	for (i = 0; i < times; i++) {
		err = wait ? request_module("%s", wanted) : request_module_nowait("%s", wanted);
		pr_info("autoload: request_module(\"%s\") returns %d\n", wanted, err);
	}
	return 0;
}

static void __exit autoload_exit(void)
{
	pr_info("autoload: goodbye\n");
}

module_init(autoload_init);
module_exit(autoload_exit);

MODULE_ALIAS("kmod-emu-autoload-[0-9]");
MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Asks for another module");
