// SPDX-License-Identifier: GPL-2.0-only
/* Be called when others call: before a function of the kernel, when it returns, inside one of our own. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/module.h>

static int before(struct kprobe *p, struct pt_regs *regs)
{
	pr_info("kprobe: %s(\"%s\")\n", p->symbol_name, (char *)regs->di);
	return 0;
}

static void behind(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
	pr_info("kprobe: one instruction further: %d\n", regs->ip > (unsigned long)p->addr);
}

static struct kprobe probe = {
	.symbol_name = "kstrtoint", .pre_handler = before, .post_handler = behind,
};

static int entered(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	*(unsigned long *)ri->data = regs->si;
	return regs->si == 8; /* octal is none of our business */
}

static int returned(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	pr_info("kprobe: base %lu, returns %ld\n", *(unsigned long *)ri->data, regs_return_value(regs));
	return 0;
}

static struct kretprobe ret_probe = {
	.kp.symbol_name = "kstrtoint", .handler = returned, .entry_handler = entered,
	.data_size = sizeof(unsigned long),
};

static noinline __attribute__((noipa)) int twice(int x)
{
	return 2 * x;
}

static int change(struct kprobe *p, struct pt_regs *regs)
{
	regs->di = 100;
	return 0;
}

static struct kprobe own = { .pre_handler = change };

/* kallsyms_lookup_name() is not exported, but a kprobe on it tells its address. */
static unsigned long find(const char *name)
{
	static struct kprobe finder = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*lookup)(const char *name);

	if (register_kprobe(&finder))
		return 0;
	lookup = (void *)finder.addr;
	unregister_kprobe(&finder);
	return lookup(name);
}

static void parse(const char *text, unsigned int base)
{
	int value = -1, err = kstrtoint(text, base, &value);

	pr_info("kprobe: %s is %d (err %d)\n", text, value, err);
}

static int __init kprobe_init(void)
{
	static struct kprobe nowhere = { .symbol_name = "no_such_function" };
	static struct kprobe both = { .symbol_name = "kstrtoint", .addr = (void *)1 };
	int err = register_kprobe(&probe);

	if (err)
		return err;
	err = register_kretprobe(&ret_probe);
	if (err) {
		unregister_kprobe(&probe);
		return err;
	}
	parse("12", 10);
	parse("17", 8);
	parse("what", 10);
	unregister_kretprobe(&ret_probe);
	unregister_kprobe(&probe);
	parse("13", 10);

	pr_info("kprobe: found it: %d\n", find("kstrtoint") == (unsigned long)kstrtoint);
	pr_info("kprobe: refused: %d %d\n", register_kprobe(&nowhere), register_kprobe(&both));

	own.addr = (void *)twice;
	pr_info("kprobe: twice 4 is %d\n", twice(4));
	err = register_kprobe(&own);
	pr_info("kprobe: twice 4 is %d with a probe (%d)\n", twice(4), err);
	return 0;
}

static void __exit kprobe_exit(void)
{
	unregister_kprobe(&own);
	pr_info("kprobe: twice 4 is %d\n", twice(4));
}

module_init(kprobe_init);
module_exit(kprobe_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("kprobes and kretprobes");
