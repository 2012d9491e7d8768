// SPDX-License-Identifier: GPL-2.0-only
/* Exports of each kind: plain, for GPL modules only, in a namespace, and data. */
#include <linux/module.h>
#include <linux/version.h>

int exporter_add(int a, int b)
{
	return a + b;
}
EXPORT_SYMBOL(exporter_add);

int exporter_count = 7;
EXPORT_SYMBOL_GPL(exporter_count);

int exporter_double(int a)
{
	return 2 * a;
}
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
EXPORT_SYMBOL_NS_GPL(exporter_double, "EXPORTER");
#else
EXPORT_SYMBOL_NS_GPL(exporter_double, EXPORTER);
#endif

static int __init exporter_init(void)
{
	pr_info("exporter: ready\n");
	return 0;
}

static void __exit exporter_exit(void)
{
	pr_info("exporter: gone\n");
}

module_init(exporter_init);
module_exit(exporter_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Export a function, a GPL-only variable and a function in a namespace");
