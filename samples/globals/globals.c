// SPDX-License-Identifier: GPL-2.0-only
/* One variable in each section, and where it came to lie. */
#include <linux/cache.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/percpu.h>

int globals_data = 11;
int globals_bss;
const int globals_rodata = 22;
static int globals_static = 33;
static int globals_initdata __initdata = 44;
static int globals_sealed __ro_after_init;
static DEFINE_PER_CPU(int, globals_percpu);

static int __init globals_init(void)
{
	int on_stack = 55;

	globals_bss++;
	globals_static++;
	globals_sealed = 66;
	this_cpu_write(globals_percpu, 77);

	pr_info("globals: .init.text      %px\n", globals_init);
	pr_info("globals: .data           %px = %d\n", &globals_data, globals_data);
	pr_info("globals: .bss            %px = %d\n", &globals_bss, globals_bss);
	pr_info("globals: .rodata         %px = %d\n", &globals_rodata, globals_rodata);
	pr_info("globals: static          %px = %d\n", &globals_static, globals_static);
	pr_info("globals: __initdata      %px = %d\n", &globals_initdata, globals_initdata);
	pr_info("globals: __ro_after_init %px = %d\n", &globals_sealed, globals_sealed);
	pr_info("globals: per CPU         %px = %d\n",
		this_cpu_ptr(&globals_percpu), this_cpu_read(globals_percpu));
	pr_info("globals: stack           %px = %d\n", &on_stack, on_stack);
	return 0;
}

static void __exit globals_exit(void)
{
	pr_info("globals: sealed is still %d, per CPU is still %d\n",
		globals_sealed, this_cpu_read(globals_percpu));
}

module_init(globals_init);
module_exit(globals_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Variables in every section, and their addresses");
