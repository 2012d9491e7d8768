// SPDX-License-Identifier: GPL-2.0-only
/* A bus of one's own: it says which driver fits which device. */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

/* A driver fits devices whose names begin with its name. */
static int wall_match(struct device *dev, struct device_driver *drv)
{
	return !strncmp(dev_name(dev), drv->name, strlen(drv->name));
}

static int wall_uevent(struct device *dev, struct kobj_uevent_env *env)
{
	return add_uevent_var(env, "SOCKET=%s", dev_name(dev));
}

static ssize_t volts_show(struct bus_type *bus, char *buf)
{
	return sysfs_emit(buf, "230\n");
}
static BUS_ATTR_RO(volts);

static struct bus_type wall = {
	.name = "wall",
	.match = wall_match,
	.uevent = wall_uevent,
};

static int lamp_probe(struct device *dev)
{
	dev_info(dev, "on\n");
	return 0;
}

static int lamp_remove(struct device *dev)
{
	dev_info(dev, "off\n");
	return 0;
}

static struct device_driver lamp = {
	.name = "lamp",
	.bus = &wall,
	.probe = lamp_probe,
	.remove = lamp_remove,
};

static int add_one(struct device *dev, void *data)
{
	++*(int *)data;
	return 0;
}

static ssize_t burning_show(struct device_driver *drv, char *buf)
{
	int count = 0;

	driver_for_each_device(drv, NULL, &count, add_one);
	return sysfs_emit(buf, "%d\n", count);
}
static DRIVER_ATTR_RO(burning);

static void plug_release(struct device *dev)
{
	kfree(dev);
}

static struct device *plug(const char *name)
{
	struct device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (!dev)
		return NULL;
	dev->bus = &wall;
	dev->release = plug_release;
	dev_set_name(dev, "%s", name);
	if (device_register(dev)) {
		put_device(dev);
		return NULL;
	}
	return dev;
}

static const char * const names[] = { "lamp-hall", "radio", "lamp-desk" };
static struct device *plugs[ARRAY_SIZE(names)];

static void __exit ownbus_exit(void)
{
	int i;

	for (i = ARRAY_SIZE(names) - 1; i >= 0; i--)
		if (plugs[i])
			device_unregister(plugs[i]);
	driver_unregister(&lamp);
	bus_unregister(&wall);
}

static int __init ownbus_init(void)
{
	struct device *radio;
	int err, i;

	err = bus_register(&wall);
	if (err)
		return err;
	err = bus_create_file(&wall, &bus_attr_volts);
	if (err)
		goto remove_bus;
	for (i = 0; i < 2; i++)
		plugs[i] = plug(names[i]);
	err = driver_register(&lamp);
	if (err)
		goto unplug;
	err = driver_create_file(&lamp, &driver_attr_burning);
	if (err)
		goto remove_driver;
	plugs[2] = plug(names[2]);
	radio = bus_find_device_by_name(&wall, NULL, "radio");
	if (radio) {
		pr_info("ownbus: the radio has %s driver\n", radio->driver ? "a" : "no");
		put_device(radio);
	}
	return 0;

remove_driver:
	driver_unregister(&lamp);
unplug:
	while (i-- > 0)
		if (plugs[i])
			device_unregister(plugs[i]);
remove_bus:
	bus_unregister(&wall);
	return err;
}

module_init(ownbus_init);
module_exit(ownbus_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A bus with devices and a driver");
MODULE_LICENSE("GPL");
