// SPDX-License-Identifier: GPL-2.0-only
/* A bug that does not show: two locks in two orders. Nobody waits here, but two tasks could, for each other. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_MUTEX(third);

static noinline void one_way(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&third);
	mutex_unlock(&third);
	mutex_unlock(&second);
}

static noinline void other_way(void)
{
	mutex_lock(&third);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&third);
}

static int __init inversion_init(void)
{
	one_way();
	other_way();
	pr_info("inversion: nothing happened\n");
	return 0;
}

static void __exit inversion_exit(void)
{
}

module_init(inversion_init);
module_exit(inversion_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A bug: lock inversion");
MODULE_LICENSE("GPL");
