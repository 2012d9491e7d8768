// SPDX-License-Identifier: GPL-2.0-only
/* A platform driver: its device is named, not found; everything it takes goes with it. */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#define VALUE	0x00	/* read: tenths of a degree */
#define LIMIT	0x04	/* write: raise the line above this */

struct sensor {
	struct device *dev;
	void __iomem *registers;
};

static irqreturn_t too_hot(int irq, void *data)
{
	struct sensor *sensor = data;

	dev_warn(sensor->dev, "too hot: %u\n", readl(sensor->registers + VALUE));
	return IRQ_HANDLED;
}

static void say_goodbye(void *data)
{
	dev_info(data, "last of all, the first action\n");
}

static ssize_t value_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct sensor *sensor = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%u\n", readl(sensor->registers + VALUE));
}
static DEVICE_ATTR_RO(value);

static struct attribute *sensor_attrs[] = { &dev_attr_value.attr, NULL };
ATTRIBUTE_GROUPS(sensor);

static int sensor_probe(struct platform_device *pdev)
{
	struct sensor *sensor;
	int err, irq;

	err = devm_add_action_or_reset(&pdev->dev, say_goodbye, &pdev->dev);
	if (err)
		return err;
	sensor = devm_kzalloc(&pdev->dev, sizeof(*sensor), GFP_KERNEL);
	if (!sensor)
		return -ENOMEM;
	sensor->dev = &pdev->dev;
	sensor->registers = devm_platform_ioremap_resource(pdev, 0);
	if (IS_ERR(sensor->registers))
		return PTR_ERR(sensor->registers);
	irq = platform_get_irq(pdev, 0);
	if (irq < 0)
		return irq;
	err = devm_request_irq(&pdev->dev, irq, too_hot, 0, dev_name(&pdev->dev), sensor);
	if (err)
		return err;
	platform_set_drvdata(pdev, sensor);
	writel(300, sensor->registers + LIMIT);
	dev_info(&pdev->dev, "line %d, driver data %lu\n", irq, platform_get_device_id(pdev)->driver_data);
	return 0;
}

static int sensor_remove(struct platform_device *pdev)
{
	dev_info(&pdev->dev, "removed\n");
	return 0;
}

static const struct platform_device_id sensor_ids[] = {
	{ "mild-sensor", 1 },
	{ "hot-sensor", 2 },
	{ }
};
MODULE_DEVICE_TABLE(platform, sensor_ids);

static struct platform_driver sensor_driver = {
	.probe = sensor_probe,
	.remove = sensor_remove,
	.id_table = sensor_ids,
	.driver = { .name = "sensor", .dev_groups = sensor_groups },
};

static bool own;
module_param(own, bool, 0444);
MODULE_PARM_DESC(own, "make a device that has nothing, too");
static struct platform_device *empty;

static int __init platform_sample_init(void)
{
	int err = platform_driver_register(&sensor_driver);

	if (err || !own)
		return err;
	empty = platform_device_register_simple("mild-sensor", 7, NULL, 0);
	if (IS_ERR(empty)) {
		platform_driver_unregister(&sensor_driver);
		return PTR_ERR(empty);
	}
	return 0;
}

static void __exit platform_sample_exit(void)
{
	platform_device_unregister(empty);
	platform_driver_unregister(&sensor_driver);
}

module_init(platform_sample_init);
module_exit(platform_sample_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A platform driver");
MODULE_LICENSE("GPL");
