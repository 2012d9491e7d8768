// SPDX-License-Identifier: GPL-2.0-only
/* Allocates and copies, over and over: what it costs to watch that is measured with it. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#define KEPT 32

static unsigned int turns = 1000;
module_param(turns, uint, 0444);
MODULE_PARM_DESC(turns, "how often");

static struct {
	size_t size;
	u8 *bytes;
} kept[KEPT];

/* A new object in a slot, with what was in the slot before as far as that fits. */
static int turn(unsigned int n)
{
	size_t size = 16 + n * 37 % 1000;
	u8 *bytes = kmalloc(size, GFP_KERNEL);
	unsigned int slot = n % KEPT;

	if (!bytes)
		return -ENOMEM;
	memset(bytes, n, size);
	if (kept[slot].bytes)
		memcpy(bytes, kept[slot].bytes, min(size, kept[slot].size));
	kfree(kept[slot].bytes);
	kept[slot].bytes = bytes;
	kept[slot].size = size;
	return 0;
}

static void churn_exit(void)
{
	int i;

	for (i = 0; i < KEPT; i++)
		kfree(kept[i].bytes);
}

static int __init churn_init(void)
{
	unsigned int n;

	for (n = 0; n < turns; n++) {
		if (turn(n)) {
			churn_exit();
			return -ENOMEM;
		}
	}
	pr_info("churn: %u turns\n", turns);
	return 0;
}

module_init(churn_init);
module_exit(churn_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Allocates and copies a lot");
MODULE_LICENSE("GPL");
