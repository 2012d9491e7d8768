// SPDX-License-Identifier: GPL-2.0-only
/* A light, and a trigger that lights follow: a doorbell. */
#include <linux/leds.h>
#include <linux/moduleparam.h>
#include <linux/module.h>

static void porch_set(struct led_classdev *led, enum led_brightness brightness)
{
	pr_info("leds: the porch is %s (%d)\n", brightness ? "lit" : "dark", brightness);
}

static struct led_classdev porch = {
	.name = "porch:white",
	.max_brightness = 100,
	.brightness_set = porch_set,
	.default_trigger = "doorbell",
};

static int doorbell_activate(struct led_classdev *led)
{
	pr_info("leds: %s follows the doorbell\n", led->name);
	return 0;
}

static void doorbell_deactivate(struct led_classdev *led)
{
	pr_info("leds: %s no longer does\n", led->name);
}

static struct led_trigger doorbell = {
	.name = "doorbell",
	.activate = doorbell_activate,
	.deactivate = doorbell_deactivate,
};

/* Writing the parameter rings: 1 pushes the button, 0 lets it go. */
static int ring_set(const char *text, const struct kernel_param *param)
{
	bool pushed;
	int err = kstrtobool(text, &pushed);

	if (!err)
		led_trigger_event(&doorbell, pushed ? LED_FULL : LED_OFF);
	return err;
}
static const struct kernel_param_ops ring_ops = { .set = ring_set };
module_param_cb(ring, &ring_ops, NULL, 0200);
MODULE_PARM_DESC(ring, "push the button");

static int __init leds_sample_init(void)
{
	int err = led_classdev_register(NULL, &porch);

	if (err)
		return err;
	err = led_trigger_register(&doorbell);
	if (err)
		led_classdev_unregister(&porch);
	return err;
}

static void __exit leds_sample_exit(void)
{
	led_trigger_unregister(&doorbell);
	led_classdev_unregister(&porch);
}

module_init(leds_sample_init);
module_exit(leds_sample_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A light and a trigger");
MODULE_LICENSE("GPL");
