// SPDX-License-Identifier: GPL-2.0-only
/* A driver of a thermometer on an I2C bus: registers by SMBus commands, the serial number by messages. */
#include <linux/i2c.h>
#include <linux/interrupt.h>
#include <linux/module.h>

#define TEMPERATURE	0x00	/* tenths of a degree, the high byte first */
#define STATUS		0x01	/* 1: over the limit */
#define LIMIT		0x03
#define SERIAL		0x10	/* 8 bytes */

static int temperature(struct i2c_client *client)
{
	return i2c_smbus_read_word_swapped(client, TEMPERATURE);
}

static irqreturn_t on_alarm(int irq, void *data)
{
	struct i2c_client *client = data;

	if (!(i2c_smbus_read_byte_data(client, STATUS) & 1))
		return IRQ_NONE;
	dev_warn(&client->dev, "alarm: %d\n", temperature(client));
	return IRQ_HANDLED;
}

static ssize_t temperature_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int value = temperature(to_i2c_client(dev));

	return value < 0 ? value : sysfs_emit(buf, "%d\n", value);
}
static DEVICE_ATTR_RO(temperature);

static struct attribute *thermo_attrs[] = { &dev_attr_temperature.attr, NULL };
ATTRIBUTE_GROUPS(thermo);

static int read_serial(struct i2c_client *client, u8 *serial)
{
	u8 where = SERIAL;
	struct i2c_msg messages[] = {
		{ .addr = client->addr, .len = 1, .buf = &where },
		{ .addr = client->addr, .flags = I2C_M_RD, .len = 8, .buf = serial },
	};
	int done = i2c_transfer(client->adapter, messages, ARRAY_SIZE(messages));

	return done == ARRAY_SIZE(messages) ? 0 : done < 0 ? done : -EIO;
}

static int thermo_probe(struct i2c_client *client)
{
	u8 serial[8];
	int err;

	if (!i2c_check_functionality(client->adapter, I2C_FUNC_SMBUS_WORD_DATA | I2C_FUNC_I2C))
		return -ENODEV;
	err = read_serial(client, serial);
	if (err)
		return err;
	err = i2c_smbus_write_word_swapped(client, LIMIT, 300);
	if (err)
		return err;
	if (client->irq) {
		err = devm_request_threaded_irq(&client->dev, client->irq, NULL, on_alarm, IRQF_ONESHOT,
						"thermo", client);
		if (err)
			return err;
	}
	dev_info(&client->dev, "serial number %8phN, %d\n", serial, temperature(client));
	return 0;
}

static void thermo_remove(struct i2c_client *client)
{
	dev_info(&client->dev, "removed\n");
}

static const struct i2c_device_id thermo_ids[] = {
	{ "thermo", 0 },
	{ }
};
MODULE_DEVICE_TABLE(i2c, thermo_ids);

static struct i2c_driver thermo_driver = {
	.driver = { .name = "thermo", .dev_groups = thermo_groups },
	.probe_new = thermo_probe,
	.remove = thermo_remove,
	.id_table = thermo_ids,
};

static int at;
module_param(at, int, 0444);
MODULE_PARM_DESC(at, "address of a thermometer on bus 0 that nobody else tells of");
static struct i2c_client *own;

static int __init i2c_sample_init(void)
{
	struct i2c_board_info info = { I2C_BOARD_INFO("thermo", at) };
	struct i2c_adapter *adapter;
	int err = i2c_add_driver(&thermo_driver);

	if (err || !at)
		return err;
	adapter = i2c_get_adapter(0);
	if (!adapter) {
		i2c_del_driver(&thermo_driver);
		return -ENODEV;
	}
	own = i2c_new_client_device(adapter, &info);
	i2c_put_adapter(adapter);
	if (IS_ERR(own)) {
		i2c_del_driver(&thermo_driver);
		return PTR_ERR(own);
	}
	return 0;
}

static void __exit i2c_sample_exit(void)
{
	i2c_unregister_device(own);
	i2c_del_driver(&thermo_driver);
}

module_init(i2c_sample_init);
module_exit(i2c_sample_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A driver of an I2C chip");
MODULE_LICENSE("GPL");
