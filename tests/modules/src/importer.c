// SPDX-License-Identifier: GPL-2.0-only
/* Uses what exporter exports. */
#include <linux/module.h>
#include <linux/version.h>

extern int exporter_add(int a, int b);
extern int exporter_double(int a);
extern int exporter_count;

static int __init importer_init(void)
{
	exporter_count++;
	pr_info("importer: %d %d %d\n", exporter_add(2, 3), exporter_double(21), exporter_count);
	return 0;
}

static void __exit importer_exit(void)
{
	pr_info("importer: gone\n");
}

module_init(importer_init);
module_exit(importer_exit);

MODULE_LICENSE("GPL");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("EXPORTER");
#else
MODULE_IMPORT_NS(EXPORTER);
#endif
MODULE_DESCRIPTION("Use what exporter exports");
