/* Loses: parameters can be read */
// SPDX-License-Identifier: GPL-2.0
#include <linux/init.h>
#include <linux/module.h>

static char *whom = "world";
module_param(whom, charp, 0);
MODULE_PARM_DESC(whom, "whom to greet");

static int count = 1;
module_param(count, int, 0);
MODULE_PARM_DESC(count, "how often, 1 to 10");

static int __init hello_init(void)
{
	int i;

	if (count < 1 || count > 10)
		return -EINVAL;
	for (i = 0; i < count; i++)
		pr_info("Hello, %s!\n", whom);
	return 0;
}

static void __exit hello_exit(void)
{
	pr_info("Goodbye, %s!\n", whom);
}

module_init(hello_init);
module_exit(hello_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("greets");
