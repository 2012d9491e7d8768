// SPDX-License-Identifier: GPL-2.0-only
/* No init and no exit: a module that only offers a function to other modules. */
#include <linux/module.h>

int noinit_answer(void);

int noinit_answer(void)
{
	return 42;
}
EXPORT_SYMBOL_GPL(noinit_answer);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A module without init and exit");
