// SPDX-License-Identifier: GPL-2.0-only
/* A button that switches a light: two GPIO lines, and an interrupt at the button's edge. */
#include <linux/gpio.h>
#include <linux/interrupt.h>
#include <linux/module.h>

static int button = 17;
module_param(button, int, 0444);
MODULE_PARM_DESC(button, "line of the button");

static int led = 4;
module_param(led, int, 0444);
MODULE_PARM_DESC(led, "line of the light");

static int irq;

static irqreturn_t on_press(int line, void *dev_id)
{
	gpio_set_value(led, !gpio_get_value(led));
	pr_info("gpio: pressed, the light is %s\n", gpio_get_value(led) ? "on" : "off");
	return IRQ_HANDLED;
}

static int __init gpio_sample_init(void)
{
	int err;

	err = gpio_request(button, "button");
	if (err) {
		pr_err("gpio: line %d: %d\n", button, err);
		return err == -EPROBE_DEFER ? -ENODEV : err;
	}
	err = gpio_request(led, "light");
	if (err)
		goto free_button;
	gpio_direction_input(button);
	gpio_direction_output(led, 0);
	irq = gpio_to_irq(button);
	err = request_irq(irq, on_press, IRQF_TRIGGER_RISING, "button", NULL);
	if (err)
		goto free_led;
	return 0;

free_led:
	gpio_free(led);
free_button:
	gpio_free(button);
	return err;
}

static void __exit gpio_sample_exit(void)
{
	free_irq(irq, NULL);
	gpio_set_value(led, 0);
	gpio_free(led);
	gpio_free(button);
}

module_init(gpio_sample_init);
module_exit(gpio_sample_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A button and a light");
MODULE_LICENSE("GPL");
