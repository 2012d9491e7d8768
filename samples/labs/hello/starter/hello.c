// SPDX-License-Identifier: GPL-2.0
#include <linux/init.h>
#include <linux/module.h>

/* TODO: module_param(), for whom and count */

static int __init hello_init(void)
{
	/* TODO */
	return 0;
}

static void __exit hello_exit(void)
{
	/* TODO */
}

module_init(hello_init);
module_exit(hello_exit);

MODULE_LICENSE("GPL");
