// SPDX-License-Identifier: GPL-2.0-only
/* Functions of the base kernel that only compute: no device, no lock, no time. */
#include <linux/bitmap.h>
#include <linux/crc32.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/rbtree.h>
#include <linux/sort.h>
#include <linux/string.h>

#define NBITS 128

struct number {
	struct rb_node node;
	int value;
};

static char *text = "123456789";
module_param(text, charp, 0444);
MODULE_PARM_DESC(text, "the text that strlen, kstrtoint and crc32 are given");

static int numbers[] = { 31, 4, 15, 9, 26, 5 };
static struct number nodes[ARRAY_SIZE(numbers)];
static struct rb_root tree = RB_ROOT;
static DECLARE_BITMAP(bits, NBITS);

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void insert(struct number *number)
{
	struct rb_node **link = &tree.rb_node;
	struct rb_node *parent = NULL;

	while (*link) {
		parent = *link;
		if (number->value < rb_entry(parent, struct number, node)->value)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&number->node, parent, link);
	rb_insert_color(&number->node, &tree);
}

static void try_strings(void)
{
	int number = 0;
	int err;

	pr_info("puresym: strlen %zu\n", strlen(text));
	err = kstrtoint(text, 10, &number);
	pr_info("puresym: kstrtoint %d, number %d\n", err, number);
	err = kstrtoint("12x", 10, &number);
	pr_info("puresym: kstrtoint %d\n", err);
	pr_info("puresym: crc32 %08x\n", crc32_le(~0, text, strlen(text)) ^ ~0);
}

static void try_rbtree(void)
{
	struct rb_node *node;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		nodes[i].value = numbers[i];
		insert(&nodes[i]);
	}
	pr_info("puresym: rbtree");
	for (node = rb_first(&tree); node; node = rb_next(node))
		pr_cont(" %d", rb_entry(node, struct number, node)->value);
	pr_cont("\n");
}

static void try_sort(void)
{
	sort(numbers, ARRAY_SIZE(numbers), sizeof(numbers[0]), compare, NULL);
	pr_info("puresym: sort %d %d %d %d %d %d\n", numbers[0], numbers[1],
		numbers[2], numbers[3], numbers[4], numbers[5]);
}

static void try_bitmap(void)
{
	bitmap_set(bits, 60, 10);
	set_bit(127, bits);
	pr_info("puresym: bitmap %*pbl, weight %u, first %lu, first zero after 60 %lu\n",
		NBITS, bits, bitmap_weight(bits, NBITS), find_first_bit(bits, NBITS),
		find_next_zero_bit(bits, NBITS, 60));
}

static int __init puresym_init(void)
{
	try_strings();
	try_rbtree();
	try_sort();
	try_bitmap();
	return 0;
}

static void __exit puresym_exit(void)
{
}

module_init(puresym_init);
module_exit(puresym_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Call the computing functions of the base kernel");
