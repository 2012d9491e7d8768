// SPDX-License-Identifier: GPL-2.0-only
/* Files in /proc: one that is written to, one that lists many records, one of a single record. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

struct word {
	struct list_head list;
	char text[32];
};

static LIST_HEAD(words);
static DEFINE_MUTEX(lock);
static struct proc_dir_entry *dir;

static void *words_start(struct seq_file *m, loff_t *pos)
{
	mutex_lock(&lock);
	return seq_list_start(&words, *pos);
}

static void *words_next(struct seq_file *m, void *v, loff_t *pos)
{
	return seq_list_next(v, &words, pos);
}

static void words_stop(struct seq_file *m, void *v)
{
	mutex_unlock(&lock);
}

static int words_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%-10s%zu\n", list_entry(v, struct word, list)->text,
		   strlen(list_entry(v, struct word, list)->text));
	return 0;
}

static const struct seq_operations words_seq = {
	.start = words_start, .next = words_next, .stop = words_stop, .show = words_show,
};

static int words_open(struct inode *inode, struct file *file)
{
	return seq_open(file, &words_seq);
}

static ssize_t words_write(struct file *file, const char __user *buf, size_t count, loff_t *pos)
{
	struct word *word;

	if (count >= sizeof(word->text))
		return -EINVAL;
	word = kzalloc(sizeof(*word), GFP_KERNEL);
	if (!word)
		return -ENOMEM;
	if (copy_from_user(word->text, buf, count)) {
		kfree(word);
		return -EFAULT;
	}
	strim(word->text);
	mutex_lock(&lock);
	list_add_tail(&word->list, &words);
	mutex_unlock(&lock);
	return count;
}

static const struct proc_ops words_ops = {
	.proc_open = words_open, .proc_read = seq_read, .proc_lseek = seq_lseek,
	.proc_write = words_write, .proc_release = seq_release,
};

static int count_show(struct seq_file *m, void *v)
{
	struct list_head *place;
	int count = 0;

	list_for_each(place, &words)
		count++;
	seq_printf(m, "%d words\n", count);
	return 0;
}

static int __init procfs_init(void)
{
	dir = proc_mkdir("kmod_emu_demo", NULL);
	if (!dir)
		return -ENOMEM;
	if (!proc_create("words", 0666, dir, &words_ops) ||
	    !proc_create_single("count", 0444, dir, count_show)) {
		proc_remove(dir);
		return -ENOMEM;
	}
	return 0;
}

static void __exit procfs_exit(void)
{
	struct word *word, *next;

	proc_remove(dir);
	list_for_each_entry_safe(word, next, &words, list) {
		pr_info("procfs: forgets %s\n", word->text);
		kfree(word);
	}
}

module_init(procfs_init);
module_exit(procfs_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Files in /proc");
