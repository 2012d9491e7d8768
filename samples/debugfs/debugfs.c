// SPDX-License-Identifier: GPL-2.0-only
/* Look into a running module: variables, a number behind functions, and a file of our own. */
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static struct dentry *dir;
static u32 packets = 17, mask = 0xbeef;
static bool verbose = true;
static u64 level = 3;
static char note[] = "raw bytes";
static struct debugfs_blob_wrapper blob = { .data = note, .size = sizeof(note) - 1 };

static int level_get(void *data, u64 *value)
{
	*value = *(u64 *)data;
	return 0;
}

static int level_set(void *data, u64 value)
{
	if (value > 9)
		return -ERANGE;
	pr_info("debugfs: level %llu\n", value);
	*(u64 *)data = value;
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(level_fops, level_get, level_set, "level %llu\n");

static int state_show(struct seq_file *m, void *v)
{
	seq_printf(m, "packets %u, level %llu\n", packets, *(u64 *)m->private);
	return 0;
}

DEFINE_SHOW_ATTRIBUTE(state);

static int __init debugfs_demo_init(void)
{
	struct dentry *again;

	dir = debugfs_create_dir("kmod_emu_demo", NULL);
	if (IS_ERR(dir))
		return PTR_ERR(dir);
	debugfs_create_u32("packets", 0644, dir, &packets);
	debugfs_create_x32("mask", 0444, dir, &mask);
	debugfs_create_bool("verbose", 0600, dir, &verbose);
	debugfs_create_blob("blob", 0444, dir, &blob);
	debugfs_create_file("level", 0644, dir, &level, &level_fops);
	debugfs_create_file("state", 0444, dir, &level, &state_fops);
	debugfs_create_symlink("link", dir, "packets");
	again = debugfs_create_dir("kmod_emu_demo", NULL);
	pr_info("debugfs: a second one is refused: %pe\n", again);
	return 0;
}

static void __exit debugfs_demo_exit(void)
{
	debugfs_remove(dir);
	pr_info("debugfs: packets %u, verbose %d\n", packets, verbose);
}

module_init(debugfs_demo_init);
module_exit(debugfs_demo_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Files in debugfs");
