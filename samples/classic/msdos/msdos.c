// SPDX-License-Identifier: GPL-2.0-only
/* A module that needs another one: insmod finds fat_add_cluster in what fat exports, and patches the calls. */
#include <linux/kernel.h>
#include <linux/module.h>

int fat_add_cluster(int last);
int fat_free(int first);
int fat_free_clusters(void);

static int first;

int init_module(void)
{
	int last;

	first = fat_add_cluster(0);
	if (first < 0)
		return first;
	last = fat_add_cluster(first);
	printk(KERN_INFO "msdos: a file in clusters %d and %d, %d are free\n", first, last, fat_free_clusters());
	return 0;
}

void cleanup_module(void)
{
	printk(KERN_INFO "msdos: %d clusters freed\n", fat_free(first));
}

EXPORT_NO_SYMBOLS;
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A file system that leaves its table to fat");
