// SPDX-License-Identifier: GPL-2.0-only
/* Bug: exit leaves files in /sys, a kobject, and a callback that RCU still has. With fixed=1 it does not. */
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

static bool fixed;
module_param(fixed, bool, 0444);
MODULE_PARM_DESC(fixed, "take everything away");

static ssize_t value_show(struct kobject *kobj, struct kobj_attribute *attribute, char *buf)
{
	return sysfs_emit(buf, "1\n");
}

static struct kobj_attribute value = __ATTR_RO(value);
static struct attribute *attributes[] = { &value.attr, NULL };
static const struct attribute_group group = { .name = "sysfsleft", .attrs = attributes };
static struct kobject own;
static struct rcu_head head;

static void release(struct kobject *kobj)
{
}

static const struct kobj_type type = { .release = release, .sysfs_ops = &kobj_sysfs_ops };

static void later(struct rcu_head *h)
{
}

static int __init sysfsleft_init(void)
{
	int error = sysfs_create_file(kernel_kobj, &value.attr);

	if (error)
		return error;
	error = sysfs_create_group(kernel_kobj, &group);
	if (error)
		goto no_group;
	error = kobject_init_and_add(&own, (struct kobj_type *)&type, kernel_kobj, "own");
	if (error)
		goto no_kobject;
	return 0;

no_kobject:
	kobject_put(&own);
	sysfs_remove_group(kernel_kobj, &group);
no_group:
	sysfs_remove_file(kernel_kobj, &value.attr);
	return error;
}

static void __exit sysfsleft_exit(void)
{
	call_rcu(&head, later);
	if (!fixed)
		return;
	rcu_barrier();
	kobject_put(&own);
	sysfs_remove_group(kernel_kobj, &group);
	sysfs_remove_file(kernel_kobj, &value.attr);
}

module_init(sysfsleft_init);
module_exit(sysfsleft_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bug: files in /sys and a callback that exit forgets");
MODULE_LICENSE("GPL");
