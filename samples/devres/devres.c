// SPDX-License-Identifier: GPL-2.0-only
/* Managed resources of a device: freed by nobody, gone with the device, last first. */
#include <linux/device.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

static struct class *class;
static struct device *device;

static void say(void *what)
{
	pr_info("devres: %s goes\n", (const char *)what);
}

struct own {
	int number;
};

static void release_own(struct device *dev, void *res)
{
	pr_info("devres: own resource %d of %s goes\n", ((struct own *)res)->number, dev_name(dev));
}

static int use(struct device *device)
{
	struct own *own;
	int *zeros;
	char *name;
	void *group;
	int rc;

	name = devm_kasprintf(device, GFP_KERNEL, "%s-%d", dev_name(device), 7);
	zeros = devm_kcalloc(device, 4, sizeof(int), GFP_KERNEL);
	if (!name || !zeros)
		return -ENOMEM;
	pr_info("devres: %s, %d zeros\n", name, zeros[3]);
	name = devm_krealloc(device, name, 1000, GFP_KERNEL);
	if (!name)
		return -ENOMEM;
	pr_info("devres: still %s\n", name);

	rc = devm_add_action(device, say, "the first");
	if (rc)
		return rc;
	own = devres_alloc(release_own, sizeof(*own), GFP_KERNEL);
	if (!own)
		return -ENOMEM;
	own->number = 1;
	devres_add(device, own);

	group = devres_open_group(device, NULL, GFP_KERNEL);
	if (!group)
		return -ENOMEM;
	rc = devm_add_action(device, say, "one of the group");
	if (!rc)
		rc = devm_add_action(device, say, "another of the group");
	devres_close_group(device, group);
	if (rc)
		return rc;
	pr_info("devres: released with the group: %d\n", devres_release_group(device, group));

	rc = devm_add_action_or_reset(device, say, "the last");
	if (!rc)
		rc = devm_add_action(device, say, "nothing");
	if (rc)
		return rc;
	devm_remove_action(device, say, "nothing");
	pr_info("devres: found %d\n", ((struct own *)devres_find(device, release_own, NULL, NULL))->number);
	devm_kfree(device, name);
	pr_info("devres: a second time:\n");
	devm_kfree(device, name);
	return 0;
}

static int __init devres_init(void)
{
	int rc;

	class = class_create(THIS_MODULE, "devres");
	if (IS_ERR(class))
		return PTR_ERR(class);
	device = device_create(class, NULL, 0, NULL, "managed0");
	if (IS_ERR(device)) {
		class_destroy(class);
		return PTR_ERR(device);
	}
	rc = use(device);
	if (rc) {
		device_unregister(device);
		class_destroy(class);
	}
	return rc;
}

static void __exit devres_exit(void)
{
	device_unregister(device);
	class_destroy(class);
}

module_init(devres_init);
module_exit(devres_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Managed resources of a device");
MODULE_LICENSE("GPL");
