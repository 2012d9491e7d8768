// SPDX-License-Identifier: GPL-2.0-only
/* From numbers to pointers: idr, ida, xarray. */
#include <linux/idr.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/xarray.h>

static DEFINE_IDR(idr);
static DEFINE_IDA(ida);
static DEFINE_XARRAY_ALLOC(xa);
/* An xarray tells its own nodes by the lowest bits: pointers are aligned. */
static const char words[][8] __aligned(8) = { "zero", "one", "two", "three" };

static int print(int id, void *p, void *data)
{
	pr_info("idr: %d is %s\n", id, (char *)p);
	return id == 2;
}

static int __init idr_init_module(void)
{
	unsigned long index;
	int i, id, a, b, c;
	char *word;
	u32 n;

	pr_info("idr: empty: %d\n", idr_is_empty(&idr));
	for (i = 0; i < 4; i++)
		id = idr_alloc(&idr, (void *)words[i], 0, 0, GFP_KERNEL);
	pr_info("idr: the last number is %d\n", id);
	pr_info("idr: removed %s\n", (char *)idr_remove(&idr, 1));
	idr_for_each_entry(&idr, word, id)
		pr_info("idr: entry %d %s\n", id, word);
	a = idr_alloc(&idr, (void *)words[1], 0, 4, GFP_KERNEL);
	b = idr_alloc(&idr, (void *)words[1], 0, 4, GFP_KERNEL);
	pr_info("idr: the number is given again: %d, then none is left: %d\n", a, b);
	pr_info("idr: idr_for_each stopped with %d\n", idr_for_each(&idr, print, NULL));
	idr_destroy(&idr);

	a = ida_alloc(&ida, GFP_KERNEL);
	b = ida_alloc_min(&ida, 5, GFP_KERNEL);
	c = ida_alloc(&ida, GFP_KERNEL);
	ida_free(&ida, a);
	pr_info("idr: ida %d %d %d, then %d\n", a, b, c, ida_alloc(&ida, GFP_KERNEL));
	ida_destroy(&ida);

	xa_store(&xa, 1000, (void *)words[2], GFP_KERNEL);
	a = xa_insert(&xa, 7, (void *)words[3], GFP_KERNEL);
	b = xa_insert(&xa, 7, (void *)words[3], GFP_KERNEL);
	pr_info("idr: xa_insert %d %d\n", a, b);
	pr_info("idr: xa_alloc %d", xa_alloc(&xa, &n, (void *)words[0], xa_limit_32b, GFP_KERNEL));
	pr_cont(" %u\n", n);
	xa_set_mark(&xa, 7, XA_MARK_1);
	xa_for_each(&xa, index, word)
		pr_info("idr: xa %lu %s, marked %d\n", index, word, xa_get_mark(&xa, index, XA_MARK_1));
	word = xa_erase(&xa, 7);
	pr_info("idr: erased %s, loads %d\n", word, !!xa_load(&xa, 7));
	xa_destroy(&xa);
	pr_info("idr: empty: %d\n", xa_empty(&xa));
	return 0;
}

static void __exit idr_exit_module(void)
{
}

module_init(idr_init_module);
module_exit(idr_exit_module);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("idr, ida, xarray");
MODULE_LICENSE("GPL");
