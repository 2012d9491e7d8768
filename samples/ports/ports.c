// SPDX-License-Identifier: GPL-2.0-only
/* A driver of a small ISA card by hand: ports, and an interrupt when an answer is there. */
#include <linux/completion.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/module.h>

#define PORTS	4
#define DATA	0	/* 8 bits: write a letter, read the answer */
#define STATUS	1	/* 8 bits: 1 while an answer is there */
#define COUNT	2	/* 16 bits: letters so far */
#define READY	0x01

static ushort base = 0x300;
module_param(base, ushort, 0444);
MODULE_PARM_DESC(base, "first port of the card");

static int irq = 7;
module_param(irq, int, 0444);
MODULE_PARM_DESC(irq, "its interrupt line");

static char *text = "hello";
module_param(text, charp, 0444);
MODULE_PARM_DESC(text, "what to send to the card");

static DECLARE_COMPLETION(answered);
static char answer;

static irqreturn_t on_answer(int line, void *dev_id)
{
	if (!(inb(base + STATUS) & READY))
		return IRQ_NONE;
	answer = inb(base + DATA);
	complete(&answered);
	return IRQ_HANDLED;
}

static int __init ports_init(void)
{
	const char *letter;
	int err;

	if (!request_region(base, PORTS, "ports")) {
		pr_err("ports: %#x to %#x are somebody's\n", base, base + PORTS - 1);
		return -EBUSY;
	}
	err = request_irq(irq, on_answer, 0, "ports", NULL);
	if (err)
		goto release;
	if (inb(base + STATUS) == 0xff) {
		pr_err("ports: no card at %#x\n", base);
		err = -ENODEV;
		goto free;
	}
	for (letter = text; *letter; letter++) {
		outb(*letter, base + DATA);
		if (!wait_for_completion_timeout(&answered, HZ)) {
			pr_err("ports: the card does not answer\n");
			err = -EIO;
			goto free;
		}
		pr_info("ports: %c -> %c\n", *letter, answer);
	}
	pr_info("ports: the card has seen %d letters\n", inw(base + COUNT));
	return 0;

free:
	free_irq(irq, NULL);
release:
	release_region(base, PORTS);
	return err;
}

static void __exit ports_exit(void)
{
	free_irq(irq, NULL);
	release_region(base, PORTS);
}

module_init(ports_init);
module_exit(ports_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Port input and output, and an interrupt");
MODULE_LICENSE("GPL");
