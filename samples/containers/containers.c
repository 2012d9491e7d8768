// SPDX-License-Identifier: GPL-2.0-only
/* Where to keep things: a radix tree, a queue that a device fills by itself, pages shown in one piece. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kfifo.h>
#include <linux/module.h>
#include <linux/radix-tree.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static RADIX_TREE(tree, GFP_KERNEL);

static void walk_tree(void)
{
	static char things[5][8] = { "zero", "one", "four", "nine", "sixteen" };
	struct radix_tree_iter iter;
	unsigned long i;
	void **slot;

	for (i = 0; i < 5; i++)
		radix_tree_insert(&tree, i * i, things[i]);
	pr_info("containers: 4 is taken: %d\n", radix_tree_insert(&tree, 4, things[0]));
	pr_info("containers: at 9 is %s, at 10 %s\n", (char *)radix_tree_lookup(&tree, 9),
		radix_tree_lookup(&tree, 10) ? "something" : "nothing");
	radix_tree_tag_set(&tree, 1, 1);
	radix_tree_tag_set(&tree, 16, 1);
	radix_tree_for_each_slot(slot, &tree, &iter, 2)
		pr_info("containers: %lu: %s\n", iter.index, (char *)radix_tree_deref_slot(slot));
	radix_tree_for_each_tagged(slot, &tree, &iter, 0, 1)
		pr_info("containers: %lu has a tag\n", iter.index);
	for (i = 0; i < 5; i++)
		radix_tree_delete(&tree, i * i);
	pr_info("containers: the tree is empty: %d\n", radix_tree_empty(&tree));
}

/* What a driver tells its device: where the queue's free parts are, or its used ones. */
static int map_queue(void)
{
	struct scatterlist list[2];
	struct kfifo queue;
	char text[16] = "";
	unsigned int n;
	int err = kfifo_alloc(&queue, 16, GFP_KERNEL);

	if (err)
		return err;
	kfifo_in(&queue, "0123456789", 10);
	n = kfifo_out(&queue, text, 8);
	kfifo_in(&queue, "abcdefghij", 10);
	sg_init_table(list, 2);
	n = kfifo_dma_out_prepare(&queue, list, 2, 12);
	sg_copy_to_buffer(list, n, text, 12);
	pr_info("containers: %u pieces of %u and %u bytes: %s\n", n, list[0].length, list[1].length, text);
	kfifo_dma_out_finish(&queue, 5);
	sg_init_table(list, 2);
	n = kfifo_dma_in_prepare(&queue, list, 2, 100);
	pr_info("containers: %u piece of %u bytes is free\n", n, list[0].length);
	kfifo_free(&queue);
	return 0;
}

static int show_pages(void)
{
	struct page *pages[2] = { alloc_page(GFP_KERNEL), alloc_page(GFP_KERNEL) };
	char *both = NULL;

	if (pages[0] && pages[1])
		both = vmap(pages, 2, VM_MAP, PAGE_KERNEL);
	if (both) {
		strcpy(page_address(pages[1]), "second page");
		both[PAGE_SIZE] = 'S';
		pr_info("containers: %s; the same page: %d\n", (char *)page_address(pages[1]),
			vmalloc_to_page(both + PAGE_SIZE) == pages[1]);
		vunmap(both);
	}
	if (pages[0])
		__free_page(pages[0]);
	if (pages[1])
		__free_page(pages[1]);
	return both ? 0 : -ENOMEM;
}

static int split_words(void)
{
	int argc, i;
	char **argv = argv_split(GFP_KERNEL, "  one two\tthree ", &argc);

	if (!argv)
		return -ENOMEM;
	for (i = 0; i < argc; i++)
		pr_info("containers: word %d is %s\n", i, argv[i]);
	argv_free(argv);
	return 0;
}

static int __init containers_init(void)
{
	walk_tree();
	return map_queue() ?: show_pages() ?: split_words();
}

static void __exit containers_exit(void)
{
}

module_init(containers_init);
module_exit(containers_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("radix trees, queues for devices, vmap");
