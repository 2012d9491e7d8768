// SPDX-License-Identifier: GPL-2.0-only
/* A driver of registers in memory, by hand: a timer that counts down. */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/module.h>

#define SIZE	0x100
#define ID	0x00	/* read: who is there */
#define LOAD	0x04	/* write: count down from here */
#define COUNT	0x08	/* read: what is left */
#define NAME	0x10	/* read: 8 bytes of text */
#define MAGIC	0x54494d45

static ulong base = 0xfed40000;
module_param(base, ulong, 0444);
MODULE_PARM_DESC(base, "physical address of the registers");

static void __iomem *registers;

static int __init mmio_init(void)
{
	char name[8];
	u32 id, left;

	if (!request_mem_region(base, SIZE, "mmio")) {
		pr_err("mmio: %#lx is somebody's\n", base);
		return -EBUSY;
	}
	registers = ioremap(base, SIZE);
	if (!registers)
		goto release;
	id = readl(registers + ID);
	if (id != MAGIC) {
		pr_err("mmio: id %#x: nothing there\n", id);
		iounmap(registers);
		goto release;
	}
	memcpy_fromio(name, registers + NAME, sizeof(name));
	pr_info("mmio: found %.8s\n", name);
	writel(3, registers + LOAD);
	while ((left = readl(registers + COUNT)))
		pr_info("mmio: %u left\n", left);
	return 0;

release:
	release_mem_region(base, SIZE);
	return -ENODEV;
}

static void __exit mmio_exit(void)
{
	iounmap(registers);
	release_mem_region(base, SIZE);
}

module_init(mmio_init);
module_exit(mmio_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Registers in memory");
MODULE_LICENSE("GPL");
