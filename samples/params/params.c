// SPDX-License-Identifier: GPL-2.0-only
/* One parameter of each common type, and one whose set and get are our own. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#define LEVEL_MAX 10

static int count = 1;
module_param(count, int, 0644);
MODULE_PARM_DESC(count, "a signed number");

static uint size = 16;
module_param(size, uint, 0444);
MODULE_PARM_DESC(size, "an unsigned number");

static bool verbose;
module_param(verbose, bool, 0644);
MODULE_PARM_DESC(verbose, "yes or no; the bare name means yes");

static char *whom = "world";
module_param(whom, charp, 0444);
MODULE_PARM_DESC(whom, "a text");

static int values[4] = { 1, 2 };
static int nvalues = 2;
module_param_array(values, int, &nvalues, 0444);
MODULE_PARM_DESC(values, "one to four numbers, separated by commas");

static int level = 3;

static int level_set(const char *val, const struct kernel_param *kp)
{
	int number;
	int err;

	pr_info("params: level_set(\"%s\")\n", val);
	err = kstrtoint(val, 0, &number);
	if (err)
		return err;
	if (number < 0 || number > LEVEL_MAX)
		return -ERANGE;
	*(int *)kp->arg = number;
	return 0;
}

static int level_get(char *buffer, const struct kernel_param *kp)
{
	pr_info("params: level_get()\n");
	return scnprintf(buffer, PAGE_SIZE, "%d of %d\n", *(int *)kp->arg, LEVEL_MAX);
}

static const struct kernel_param_ops level_ops = {
	.set = level_set,
	.get = level_get,
};
module_param_cb(level, &level_ops, &level, 0644);
MODULE_PARM_DESC(level, "a number from 0 to 10, checked by the module itself");

static int __init params_init(void)
{
	int i;

	pr_info("params: count=%d size=%u verbose=%d whom=%s level=%d\n",
		count, size, verbose, whom, level);
	for (i = 0; i < nvalues; i++)
		pr_info("params: values[%d]=%d\n", i, values[i]);
	return 0;
}

static void __exit params_exit(void)
{
	pr_info("params: goodbye, %s\n", whom);
}

module_init(params_init);
module_exit(params_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Module parameters of each type");
