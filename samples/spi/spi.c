// SPDX-License-Identifier: GPL-2.0-only
/* A driver of an analog-to-digital converter on an SPI bus: what goes out and what comes in go at once. */
#include <linux/module.h>
#include <linux/spi/spi.h>

#define IDENTIFY	0x9f	/* then three bytes come */
#define CONVERT		0x01	/* then the channel; ten bits come with it and with the byte behind it */

static int convert(struct spi_device *spi, unsigned int channel)
{
	u8 sent[3] = { CONVERT, channel << 4 }, received[3];
	struct spi_transfer transfer = { .tx_buf = sent, .rx_buf = received, .len = sizeof(sent) };
	int err = spi_sync_transfer(spi, &transfer, 1);

	return err ? err : (received[1] & 3) << 8 | received[2];
}

static ssize_t channel_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int value = convert(to_spi_device(dev), attr->attr.name[2] - '0');

	return value < 0 ? value : sysfs_emit(buf, "%d\n", value);
}

static struct device_attribute dev_attr_in0 = __ATTR(in0, 0444, channel_show, NULL);
static struct device_attribute dev_attr_in1 = __ATTR(in1, 0444, channel_show, NULL);
static struct attribute *adc_attrs[] = { &dev_attr_in0.attr, &dev_attr_in1.attr, NULL };
ATTRIBUTE_GROUPS(adc);

static int adc_probe(struct spi_device *spi)
{
	u8 command = IDENTIFY, id[3];
	int err;

	spi->mode = SPI_MODE_0;
	spi->bits_per_word = 8;
	err = spi_setup(spi);
	if (!err)
		err = spi_write_then_read(spi, &command, 1, id, sizeof(id));
	if (err)
		return err;
	if (id[0] != 0xad) {
		dev_err(&spi->dev, "no converter: %3phN\n", id);
		return -ENODEV;
	}
	dev_info(&spi->dev, "converter %3phN, %u Hz\n", id, spi->max_speed_hz);
	return 0;
}

static void adc_remove(struct spi_device *spi)
{
	dev_info(&spi->dev, "removed\n");
}

static const struct spi_device_id adc_ids[] = {
	{ "adc10", 0 },
	{ }
};
MODULE_DEVICE_TABLE(spi, adc_ids);

static struct spi_driver adc_driver = {
	.driver = { .name = "adc", .dev_groups = adc_groups },
	.probe = adc_probe,
	.remove = adc_remove,
	.id_table = adc_ids,
};
module_spi_driver(adc_driver);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A driver of an SPI device");
MODULE_LICENSE("GPL");
