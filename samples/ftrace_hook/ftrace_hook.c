// SPDX-License-Identifier: GPL-2.0-only
/* Replace a function of the kernel for everybody: an ftrace callback sends its callers to ours. */
#include <linux/ftrace.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static bool inside;

static int hooked(const char *text, const struct kernel_param *kp)
{
	int err;

	inside = true; /* our own call is to reach the true function */
	err = param_set_int(text, kp);
	inside = false;
	pr_info("ftrace_hook: param_set_int(\"%s\") = %d\n", text, err);
	if (!err)
		*(int *)kp->arg += 1000;
	return err;
}

static void notrace divert(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			   struct ftrace_regs *fregs)
{
	struct pt_regs *regs = ftrace_get_regs(fregs);

	if (!inside)
		regs->ip = (unsigned long)hooked;
}

static struct ftrace_ops ops = {
	.func = divert,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_RECURSION | FTRACE_OPS_FL_IPMODIFY,
};

static void parse(void)
{
	int value = -1;
	struct kernel_param param = { .name = "value", .arg = &value };
	int err = param_set_int("42", &param);

	pr_info("ftrace_hook: 42 is %d (err %d)\n", value, err);
}

static int __init ftrace_hook_init(void)
{
	int err;

	parse();
	err = ftrace_set_filter(&ops, "param_set_int", strlen("param_set_int"), 1);
	if (err)
		return err;
	err = register_ftrace_function(&ops);
	if (err)
		return err;
	parse();
	return 0;
}

static void __exit ftrace_hook_exit(void)
{
	unregister_ftrace_function(&ops);
	ftrace_set_filter(&ops, NULL, 0, 1);
	parse();
}

module_init(ftrace_hook_init);
module_exit(ftrace_hook_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Hooking a kernel function with ftrace");
