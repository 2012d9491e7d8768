// SPDX-License-Identifier: GPL-2.0-only
/* A directory in /sys with files that call us: a number, a text in a group, and raw bytes. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/sysfs.h>

static struct kobject *demo, *below;
static int number = 7;
static char label[16] = "none";
static u8 raw[6000];

static ssize_t number_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", number);
}

static ssize_t number_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t count)
{
	int err = kstrtoint(buf, 0, &number);

	pr_info("kobject: %s/number = %d (err %d)\n", kobject_name(kobj), number, err);
	sysfs_notify(kobj, NULL, "number");
	return err ? err : count;
}

static struct kobj_attribute number_attribute = __ATTR_RW(number);

static ssize_t label_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", label);
}

static ssize_t label_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t count)
{
	strscpy(label, buf, sizeof(label));
	strim(label);
	return min(count, sizeof(label) - 1);
}

static ssize_t secret_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return -EPERM;
}

static struct kobj_attribute label_attribute = __ATTR_RW(label);
static struct kobj_attribute secret_attribute = __ATTR_RO(secret);
static struct kobj_attribute hidden_attribute = __ATTR_RO_MODE(number, 0444);

static umode_t visible(struct kobject *kobj, struct attribute *attr, int index)
{
	return attr == &hidden_attribute.attr ? 0 : attr->mode;
}

static struct attribute *text_attributes[] = {
	&label_attribute.attr, &secret_attribute.attr, &hidden_attribute.attr, NULL,
};
static const struct attribute_group text_group = {
	.name = "text", .attrs = text_attributes, .is_visible = visible,
};

static ssize_t raw_read(struct file *file, struct kobject *kobj, struct bin_attribute *attr, char *buf,
			loff_t pos, size_t count)
{
	pr_info("kobject: raw read %zu at %lld\n", count, pos);
	memcpy(buf, raw + pos, count);
	return count;
}

static ssize_t raw_write(struct file *file, struct kobject *kobj, struct bin_attribute *attr, char *buf,
			 loff_t pos, size_t count)
{
	memcpy(raw + pos, buf, count);
	return count;
}

static BIN_ATTR_RW(raw, sizeof(raw));

static int __init kobject_demo_init(void)
{
	int err;

	demo = kobject_create_and_add("kmod_emu_demo", kernel_kobj);
	if (!demo)
		return -ENOMEM;
	err = sysfs_create_file(demo, &number_attribute.attr);
	err = err ?: sysfs_create_group(demo, &text_group);
	err = err ?: sysfs_create_bin_file(demo, &bin_attr_raw);
	err = err ?: sysfs_create_link(&THIS_MODULE->mkobj.kobj, demo, "demo");
	if (err) {
		kobject_put(demo);
		return err;
	}
	below = kobject_create_and_add("below", &THIS_MODULE->mkobj.kobj);
	pr_info("kobject: second with the name: %d\n", sysfs_create_file(demo, &number_attribute.attr));
	return 0;
}

static void __exit kobject_demo_exit(void)
{
	sysfs_remove_link(&THIS_MODULE->mkobj.kobj, "demo");
	kobject_put(below);
	kobject_put(demo);
	pr_info("kobject: label was %s\n", label);
}

module_init(kobject_demo_init);
module_exit(kobject_demo_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Directories and attributes in /sys");
