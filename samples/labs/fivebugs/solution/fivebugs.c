// SPDX-License-Identifier: GPL-2.0
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define SIZE 16 /* of a name with its final 0 */
#define MOST 100

struct entry {
	struct list_head link;
	char name[SIZE];
};

static DEFINE_MUTEX(lock); /* for the list */
static LIST_HEAD(names);
static unsigned int count;

static struct entry *find(const char *name)
{
	struct entry *entry;

	list_for_each_entry(entry, &names, link)
		if (!strcmp(entry->name, name))
			return entry;
	return NULL;
}

static int add(const char *name, size_t length)
{
	struct entry *entry = kmalloc(sizeof(*entry), GFP_KERNEL);
	int error = 0;

	if (!entry)
		return -ENOMEM;
	memcpy(entry->name, name, length);
	entry->name[length] = 0;
	mutex_lock(&lock);
	if (find(name))
		error = -EEXIST;
	else if (count == MOST)
		error = -ENOSPC;
	if (error) {
		kfree(entry);
	} else {
		list_add_tail(&entry->link, &names);
		count++;
	}
	mutex_unlock(&lock);
	return error;
}

static int del(const char *name)
{
	struct entry *entry;

	mutex_lock(&lock);
	entry = find(name);
	if (!entry) {
		mutex_unlock(&lock);
		return -ENOENT;
	}
	list_del(&entry->link);
	kfree(entry);
	count--;
	mutex_unlock(&lock);
	return 0;
}

static ssize_t fivebugs_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	char *text = memdup_user_nul(from, min_t(size_t, size, PAGE_SIZE));
	size_t length;
	char *name;
	int error;

	if (IS_ERR(text))
		return PTR_ERR(text);
	name = strim(text);
	length = strlen(name);
	if (name[0] == '-')
		error = del(name + 1);
	else if (length == 0 || length >= SIZE)
		error = -EINVAL;
	else
		error = add(name, length);
	kfree(text);
	return error ? error : size;
}

static ssize_t fivebugs_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	char *text = kzalloc(MOST * SIZE + 1, GFP_KERNEL);
	struct entry *entry;
	size_t length = 0;
	ssize_t done;

	if (!text)
		return -ENOMEM;
	mutex_lock(&lock);
	list_for_each_entry(entry, &names, link)
		length += sprintf(text + length, "%s\n", entry->name);
	mutex_unlock(&lock);
	done = simple_read_from_buffer(to, size, pos, text, length);
	kfree(text);
	return done;
}

static const struct file_operations fivebugs_fops = {
	.owner = THIS_MODULE,
	.read = fivebugs_read,
	.write = fivebugs_write,
};

static struct miscdevice fivebugs_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "fivebugs",
	.fops = &fivebugs_fops,
};

static int __init fivebugs_init(void)
{
	return misc_register(&fivebugs_device);
}

static void __exit fivebugs_exit(void)
{
	struct entry *entry, *next;

	misc_deregister(&fivebugs_device);
	list_for_each_entry_safe(entry, next, &names, link)
		kfree(entry);
}

module_init(fivebugs_init);
module_exit(fivebugs_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a list of names");
