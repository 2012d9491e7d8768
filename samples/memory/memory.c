// SPDX-License-Identifier: GPL-2.0-only
/* Where memory comes from, and what the inlined address arithmetic of the headers makes of it. */
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static char *small;
static void *big;
static struct page *page;

static void show_translation(const char *what, void *address)
{
	struct page *its_page = virt_to_page(address);

	pr_info("memory: %s: __va(__pa(p)) is p: %d, page_address(virt_to_page(p)) is its page: %d\n", what,
		__va(__pa(address)) == address,
		page_address(its_page) == (void *)((unsigned long)address & PAGE_MASK));
}

static int __init memory_init(void)
{
	unsigned long on_stack = (unsigned long)&on_stack;
	unsigned long bottom = (unsigned long)current->stack;

	pr_info("memory: caller is %s, its stack of %lu bytes holds our variable: %d\n", current->comm,
		THREAD_SIZE, on_stack >= bottom && on_stack < bottom + THREAD_SIZE);

	small = kmalloc(100, GFP_KERNEL);
	big = vmalloc(3 * PAGE_SIZE);
	page = alloc_page(GFP_KERNEL);
	if (!small || !big || !page)
		goto no_memory;

	show_translation("kmalloc", small);
	show_translation("alloc_page", page_address(page));
	strscpy(small, "through another mapping", 100);
	pr_info("memory: %s\n", (char *)__va(__pa(small)));
	memset(big, 'x', 3 * PAGE_SIZE);
	pr_info("memory: vmalloc area ends in '%c', and is one: %d\n", ((char *)big)[3 * PAGE_SIZE - 1],
		is_vmalloc_addr(big));
	return 0;

no_memory:
	if (page)
		__free_page(page);
	vfree(big);
	kfree(small);
	return -ENOMEM;
}

static void __exit memory_exit(void)
{
	__free_page(page);
	vfree(big);
	kfree(small);
	pr_info("memory: all given back\n");
}

module_init(memory_init);
module_exit(memory_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Kernel memory: kmalloc, vmalloc, pages and addresses");
MODULE_LICENSE("GPL");
