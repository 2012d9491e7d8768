// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module for other modules: it keeps a file allocation table and exports what works on it. Nothing of this
 * runs until another module, such as msdos, branches to it.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/module.h>

#define CLUSTERS	16
#define FREE		0
#define END		0xffff

static unsigned short table[CLUSTERS] = { END, END };	/* the first two are never used */

/* Append a free cluster to the chain that ends at `last` (0: begin a chain); its number, or a negative errno. */
int fat_add_cluster(int last)
{
	int cluster;

	if (last < 0 || last >= CLUSTERS || (last && table[last] != END))
		return -EIO;
	for (cluster = 2; cluster < CLUSTERS; cluster++)
		if (table[cluster] == FREE)
			break;
	if (cluster == CLUSTERS)
		return -ENOSPC;
	table[cluster] = END;
	if (last)
		table[last] = cluster;
	return cluster;
}

/* Free the chain that begins at `first`; how many clusters that were. */
int fat_free(int first)
{
	int count = 0;

	while (first >= 2 && first < CLUSTERS) {
		int next = table[first];

		table[first] = FREE;
		first = next;
		count++;
	}
	return count;
}

/* Only for modules under the GPL. */
int fat_free_clusters(void)
{
	int cluster, count = 0;

	for (cluster = 2; cluster < CLUSTERS; cluster++)
		count += table[cluster] == FREE;
	return count;
}

int init_module(void)
{
	printk(KERN_INFO "fat: %d clusters\n", fat_free_clusters());
	return 0;
}

void cleanup_module(void)
{
	printk(KERN_INFO "fat: gone\n");
}

EXPORT_SYMBOL(fat_add_cluster);
EXPORT_SYMBOL(fat_free);
EXPORT_SYMBOL_GPL(fat_free_clusters);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("File allocation tables for other modules");
