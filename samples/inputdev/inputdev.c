// SPDX-License-Identifier: GPL-2.0-only
/* An input device: a keypad with a light, and a handler that watches the keys of all devices. */
#include <linux/input.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/slab.h>

static struct input_dev *keypad;

/* --- the device -------------------------------------------------------------------------------- */

static int keypad_open(struct input_dev *dev)
{
	pr_info("inputdev: somebody listens\n");
	return 0;
}

static void keypad_close(struct input_dev *dev)
{
	pr_info("inputdev: nobody listens any more\n");
}

/* What others send to the device. */
static int keypad_event(struct input_dev *dev, unsigned int type, unsigned int code, int value)
{
	if (type == EV_LED)
		pr_info("inputdev: light %u %s\n", code, value ? "on" : "off");
	return 0;
}

/* "30 1" presses the key 30, "30 0" lets it go. */
static ssize_t key_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	unsigned int code;
	int value;

	if (sscanf(buf, "%u %d", &code, &value) != 2 || code > KEY_MAX)
		return -EINVAL;
	input_report_key(keypad, code, value);
	input_sync(keypad);
	return count;
}
static DEVICE_ATTR_WO(key);

/* "dx dy" moves the stick. */
static ssize_t stick_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	int x, y;

	if (sscanf(buf, "%d %d", &x, &y) != 2)
		return -EINVAL;
	input_report_abs(keypad, ABS_X, x);
	input_report_abs(keypad, ABS_Y, y);
	input_sync(keypad);
	return count;
}
static DEVICE_ATTR_WO(stick);

static struct attribute *keypad_attrs[] = { &dev_attr_key.attr, &dev_attr_stick.attr, NULL };
ATTRIBUTE_GROUPS(keypad);

static struct input_dev *make_keypad(void)
{
	struct input_dev *dev = input_allocate_device();

	if (!dev)
		return NULL;
	dev->name = "kmod-emu keypad";
	dev->phys = "keypad/input0";
	dev->id.bustype = BUS_VIRTUAL;
	dev->id.vendor = 0x1209;
	dev->id.product = 1;
	dev->open = keypad_open;
	dev->close = keypad_close;
	dev->event = keypad_event;
	dev->dev.groups = keypad_groups;
	input_set_capability(dev, EV_KEY, KEY_A);
	input_set_capability(dev, EV_KEY, KEY_ENTER);
	input_set_capability(dev, EV_LED, LED_CAPSL);
	__set_bit(EV_REP, dev->evbit);
	input_set_abs_params(dev, ABS_X, -100, 100, 4, 0);
	input_set_abs_params(dev, ABS_Y, -100, 100, 4, 0);
	return dev;
}

/* --- the handler ------------------------------------------------------------------------------- */

static int watch_connect(struct input_handler *handler, struct input_dev *dev,
			 const struct input_device_id *id)
{
	struct input_handle *handle = kzalloc(sizeof(*handle), GFP_KERNEL);
	int err;

	if (!handle)
		return -ENOMEM;
	handle->dev = dev;
	handle->handler = handler;
	handle->name = "watch";
	err = input_register_handle(handle);
	if (err)
		goto free;
	err = input_open_device(handle);
	if (err)
		goto unregister;
	pr_info("inputdev: watching %s\n", dev->name);
	return 0;

unregister:
	input_unregister_handle(handle);
free:
	kfree(handle);
	return err;
}

static void watch_disconnect(struct input_handle *handle)
{
	input_close_device(handle);
	input_unregister_handle(handle);
	kfree(handle);
}

static void watch_event(struct input_handle *handle, unsigned int type, unsigned int code, int value)
{
	if (type == EV_KEY)
		pr_info("inputdev: key %u %s\n", code, value == 2 ? "again" : value ? "down" : "up");
}

static const struct input_device_id watch_ids[] = {
	{ .flags = INPUT_DEVICE_ID_MATCH_EVBIT, .evbit = { BIT_MASK(EV_KEY) } },
	{ }
};
MODULE_DEVICE_TABLE(input, watch_ids);

static struct input_handler watch = {
	.name = "watch",
	.connect = watch_connect,
	.disconnect = watch_disconnect,
	.event = watch_event,
	.id_table = watch_ids,
};

static bool watching;
module_param(watching, bool, 0444);
MODULE_PARM_DESC(watching, "register a handler, too");

static int __init inputdev_init(void)
{
	int err;

	keypad = make_keypad();
	if (!keypad)
		return -ENOMEM;
	err = input_register_device(keypad);
	if (err) {
		input_free_device(keypad);
		return err;
	}
	if (watching)
		err = input_register_handler(&watch);
	if (err)
		input_unregister_device(keypad);
	return err;
}

static void __exit inputdev_exit(void)
{
	if (watching)
		input_unregister_handler(&watch);
	input_unregister_device(keypad);
}

module_init(inputdev_init);
module_exit(inputdev_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("An input device and a handler");
MODULE_LICENSE("GPL");
