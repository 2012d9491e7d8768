// SPDX-License-Identifier: GPL-2.0-only
/* An I2C bus of one's own: its algorithm plays the wires, and the one chip on them, a memory of 256 bytes. */
#include <linux/i2c.h>
#include <linux/module.h>

#define CHIP 0x50

static u8 cells[256];
static u8 cursor;

static void play(struct i2c_msg *msg)
{
	int i;

	if (msg->flags & I2C_M_RD) {
		for (i = 0; i < msg->len; i++)
			msg->buf[i] = cells[cursor++];
		return;
	}
	if (msg->len)
		cursor = msg->buf[0];
	for (i = 1; i < msg->len; i++)
		cells[cursor++] = msg->buf[i];
}

static int wires_xfer(struct i2c_adapter *adapter, struct i2c_msg *msgs, int num)
{
	int i;

	for (i = 0; i < num; i++) {
		pr_info("i2cbus: %s 0x%02x, %u bytes\n", msgs[i].flags & I2C_M_RD ? "from" : "to",
			msgs[i].addr, msgs[i].len);
		if (msgs[i].addr != CHIP)
			return -ENXIO;
		play(&msgs[i]);
	}
	return num;
}

static u32 wires_functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
}

static const struct i2c_algorithm wires = {
	.master_xfer = wires_xfer,
	.functionality = wires_functionality,
};

static struct i2c_adapter bus = {
	.owner = THIS_MODULE,
	.name = "kmod-emu wires",
	.algo = &wires,
};

static int try_out(struct i2c_client *chip)
{
	u8 block[4] = { };
	int value;

	i2c_smbus_write_byte_data(chip, 0x10, 0xab);
	i2c_smbus_write_word_data(chip, 0x11, 0x1234);
	value = i2c_smbus_read_word_data(chip, 0x10);
	pr_info("i2cbus: word at 0x10: 0x%04x\n", value);
	value = i2c_smbus_read_i2c_block_data(chip, 0x10, sizeof(block), block);
	pr_info("i2cbus: %d bytes at 0x10: %4phN\n", value, block);
	i2c_master_send(chip, "\x20xyz", 4);
	value = i2c_smbus_read_byte_data(chip, 0x21);
	pr_info("i2cbus: byte at 0x21: %c\n", value);
	return 0;
}

static int __init i2cbus_init(void)
{
	struct i2c_client *chip, *none;
	int err = i2c_add_adapter(&bus);

	if (err)
		return err;
	chip = i2c_new_dummy_device(&bus, CHIP);
	none = i2c_new_dummy_device(&bus, CHIP + 1);
	if (IS_ERR(chip) || IS_ERR(none)) {
		i2c_del_adapter(&bus);
		return -EBUSY;
	}
	try_out(chip);
	pr_info("i2cbus: nobody else: %d\n", i2c_smbus_read_byte(none));
	pr_info("i2cbus: the address is taken: %ld\n", PTR_ERR(i2c_new_dummy_device(&bus, CHIP)));
	i2c_unregister_device(none);
	return 0;
}

static void __exit i2cbus_exit(void)
{
	i2c_del_adapter(&bus);
}

module_init(i2cbus_init);
module_exit(i2cbus_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("An I2C bus");
MODULE_LICENSE("GPL");
